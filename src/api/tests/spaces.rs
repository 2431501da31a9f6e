//! Codespaces and ports through the API, and what strangers learn.

use super::*;
