//! The words of names: short, plain and pleasant in any pairing.

/// Colours and what has one.
#[rustfmt::skip]
pub const COLOURS: [&str; 64] = [
    "amber", "apricot", "azure", "bamboo", "basalt", "birch", "bronze", "cedar", "celadon", "cherry", "citron", "clay", "cobalt",
    "copper", "coral", "crystal", "cyan", "denim", "emerald", "flax", "garnet", "ginger", "gold", "granite", "hazel", "heather",
    "honey", "indigo", "iris", "ivory", "jade", "jasper", "larch", "lemon", "lilac", "linen", "lotus", "mango", "maple", "marble",
    "mint", "moss", "navy", "ochre", "olive", "onyx", "opal", "pearl", "pine", "plum", "quartz", "rose", "ruby", "russet", "saffron",
    "sage", "sienna", "silver", "slate", "tawny", "teal", "topaz", "velvet", "willow",
];

/// Gentle adjectives.
#[rustfmt::skip]
pub const ADJECTIVES: [&str; 64] = [
    "able", "agile", "airy", "alert", "apt", "balmy", "brave", "breezy", "bright", "brisk", "calm", "careful", "cheery", "chipper",
    "clear", "clever", "cosy", "crisp", "curious", "deft", "eager", "fair", "fleet", "fond", "frank", "free", "fresh", "genial",
    "gentle", "glad", "happy", "hardy", "honest", "jolly", "jovial", "keen", "kind", "lively", "loyal", "lucid", "mellow", "merry",
    "mild", "modest", "neat", "nimble", "noble", "patient", "placid", "polite", "quick", "quiet", "ready", "serene", "sincere", "smart",
    "smooth", "snug", "steady", "sunny", "tidy", "upbeat", "warm", "wise",
];

/// Animals that nobody is called in anger.
#[rustfmt::skip]
pub const ANIMALS: [&str; 128] = [
    "alpaca", "avocet", "axolotl", "badger", "beetle", "bilby", "bison", "bittern", "bobcat", "camel", "caracal", "caribou", "cheetah",
    "civet", "condor", "corgi", "crane", "cricket", "curlew", "dipper", "dolphin", "dove", "dugong", "dunlin", "eagle", "egret",
    "eider", "eland", "elk", "ermine", "falcon", "ferret", "finch", "firefly", "fossa", "gannet", "gazelle", "gecko", "genet", "gerbil",
    "grebe", "grouse", "guppy", "hare", "harrier", "heron", "hoopoe", "ibex", "ibis", "iguana", "impala", "jackdaw", "jaguar", "jay",
    "kea", "kestrel", "kinglet", "kite", "kiwi", "koala", "kudu", "lark", "lemur", "leopard", "lion", "llama", "lynx",
    "macaw", "manatee", "manta", "marmot", "marten", "martin", "merlin", "moose", "narwhal", "newt", "ocelot", "okapi", "oriole",
    "oryx", "osprey", "otter", "owl", "panda", "panther", "parrot", "pelican", "penguin", "perch", "petrel", "pika", "plover", "pony",
    "puffin", "puma", "quail", "quetzal", "quokka", "rabbit", "raven", "robin", "salmon", "seal", "siskin", "skylark", "sparrow",
    "stoat", "stork", "sunfish", "swan", "swift", "tapir", "tern", "thrush", "tiger", "toucan", "trout", "tuna", "turtle", "vicuna", "vole",
    "wagtail", "warbler", "wombat", "wren", "yak", "zebra",
];
