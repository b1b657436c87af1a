"""Where threads meet: a barrier of atomic operations, written once a module.

The last to come opens the next round. The others look for it, a little while without
a pause, then giving their processor away between two looks.
"""

from __future__ import annotations

import sys

__all__ = ["MEET", "MEET_BYTES"]

MEET_BYTES = 128
"""A line of the cache for who has come, and one for the number of the round."""

_PATIENCE = 4000
"""Looks before a thread gives its processor away."""

_YIELD = "SwitchToThread" if sys.platform == "win32" else "sched_yield"

MEET = f"""
declare i32 @{_YIELD}()

define internal void @meet(ptr %come, i64 %threads) noinline {{
entry:
  %round = getelementptr i8, ptr %come, i64 64
  %now = load atomic i64, ptr %round acquire, align 8
  %before = atomicrmw add ptr %come, i64 1 acq_rel
  %mine = add i64 %before, 1
  %last = icmp eq i64 %mine, %threads
  br i1 %last, label %open, label %look
open:
  store atomic i64 0, ptr %come monotonic, align 8
  %next = add i64 %now, 1
  store atomic i64 %next, ptr %round release, align 8
  ret void
look:
  %looks = phi i64 [0, %entry], [%more, %again]
  %seen = load atomic i64, ptr %round acquire, align 8
  %same = icmp eq i64 %seen, %now
  br i1 %same, label %wait, label %done
wait:
  %more = add i64 %looks, 1
  %tired = icmp ugt i64 %more, {_PATIENCE}
  br i1 %tired, label %rest, label %again
rest:
  %ignored = call i32 @{_YIELD}()
  br label %again
again:
  br label %look
done:
  ret void
}}
"""
