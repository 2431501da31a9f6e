//! Terminals, commands and the agent behind them.

use super::*;
