"""From what schemathesis printed: each kind of failure once, with the operations that it concerns and one to repeat."""
import re
import sys

text = sys.stdin.read()
kinds, operation = {}, ""
part = re.split(r"\n=+ FAILURES =+\n", text)[-1] if "FAILURES" in text else ""
for section in re.split(r"\n_{3,} (?=[A-Z]+ /)", "\n" + part)[1:]:
    operation = section.split(" _")[0]
    for one in re.split(r"\n(?=\d+\. Test Case ID)", section)[1:]:
        repeat = (re.search(r"Reproduce with:\s*(curl .*)", one) or [None, ""])[1]
        status = (re.search(r"\n\[(\d+)\]", one) or [None, "?"])[1]
        for kind in re.split(r"\n- ", re.split(r"\n\[\d+\]", one)[0])[1:]:
            kind = re.sub(r" Documented: .*", "", re.sub(r"\s+", " ", kind).strip())[:240]
            kinds.setdefault(kind, []).append((operation, status, repeat))
print(f"\nkinds of failures: {len(kinds)}")
for kind, found in kinds.items():
    print(f"\n- {kind}\n  {len(found)} times, of {len({one[0] for one in found})} operations; statuses {', '.join(sorted({one[1] for one in found}))}")
    for operation, status, repeat in found[:40] if len(found) < 40 else found[:3]:
        print(f"    {operation} [{status}]: {repeat[:220]}")
summary = re.search(r"\n=+ SUMMARY =+\n.*", text, re.S)
print(summary[0] if summary else "\nno summary:\n" + text[-1500:])
