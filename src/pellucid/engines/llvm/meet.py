"""How threads come to a program and where they meet in it: atomic operations.

`MEET` is a barrier, written once a module that needs one. The last to come opens the
next round. The others look for it, a little while without a pause, then giving their
processor away between two looks.

`TEAM` is a module of its own, with two functions. A worker is in `serve` while work
may come soon. One thread, in `lead`, takes those who are there along into a program's
`main`. So between two runs of a program nobody goes through the interpreter, and a
worker that sleeps is not waited for long: the work is done without it.
"""

from __future__ import annotations

import sys

__all__ = ["AWAY", "LINE", "MEET", "MEET_BYTES", "PRESENT", "TEAM"]

MEET_BYTES = 128
"""A line of the cache for who has come, and one for the number of the round."""

_PATIENCE = 4000
"""Looks before a thread gives its processor away."""

PRESENT = 3000
"""Looks beyond those for a worker to come, about a millisecond: then without it. Who
has long to do waits longer."""

_SERVICE = 20000
"""Looks beyond those for more work, some milliseconds: then to sleep."""

LINE = 64
"""Bytes of the team's first line, what to do, and of that of each worker: its state
and its number in the program."""

AWAY = 0
"""The state of a worker that sleeps; others are ready, taken and at work."""

_READY, _TAKEN, _WORK = 1, 2, 3

_YIELD = "SwitchToThread" if sys.platform == "win32" else "sched_yield"

MEET = f"""
declare i32 @{_YIELD}()

define hidden void @meet(ptr %come, i64 %threads) noinline {{
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

TEAM = f"""
declare i32 @{_YIELD}()

define internal void @pause(i64 %looks) alwaysinline {{
  %tired = icmp ugt i64 %looks, {_PATIENCE}
  br i1 %tired, label %rest, label %on
rest:
  %ignored = call i32 @{_YIELD}()
  br label %on
on:
  ret void
}}

define void @serve(ptr %team, ptr %line) {{
entry:
  store atomic i64 {_READY}, ptr %line release, align 8
  br label %look
look:
  %looks = phi i64 [0, %entry], [0, %work], [0, %leave], [%more, %idle]
  %more = add i64 %looks, 1
  %state = load atomic i64, ptr %line acquire, align 8
  %called = icmp eq i64 %state, {_WORK}
  br i1 %called, label %work, label %wait
wait:
  %tired = icmp ugt i64 %looks, {_PATIENCE + _SERVICE}
  br i1 %tired, label %leave, label %idle
idle:
  call void @pause(i64 %looks)
  br label %look
leave:
  %left = cmpxchg ptr %line, i64 {_READY}, i64 {AWAY} acq_rel monotonic
  %gone = extractvalue {{i64, i1}} %left, 1
  br i1 %gone, label %end, label %look
work:
  %number = getelementptr i8, ptr %line, i64 8
  %mine = load i64, ptr %number
  call void @enter(ptr %team, i64 %mine)
  store atomic i64 {_READY}, ptr %line release, align 8
  br label %look
end:
  ret void
}}

define internal void @enter(ptr %team, i64 %mine) {{
  %mains = load ptr, ptr %team
  %ios = getelementptr i8, ptr %team, i64 8
  %io = load ptr, ptr %ios
  %arenas = getelementptr i8, ptr %team, i64 16
  %arena = load ptr, ptr %arenas
  %counts = getelementptr i8, ptr %team, i64 24
  %count = load i64, ptr %counts
  call void %mains(ptr %io, ptr %arena, i64 %mine, i64 %count)
  ret void
}}

define internal i64 @take(ptr %line, i64 %mine, i64 %most) {{
entry:
  br label %look
look:
  %looks = phi i64 [0, %entry], [%more, %again]
  %more = add i64 %looks, 1
  %found = cmpxchg ptr %line, i64 {_READY}, i64 {_TAKEN} acq_rel monotonic
  %ready = extractvalue {{i64, i1}} %found, 1
  br i1 %ready, label %taken, label %wait
wait:
  %tired = icmp ugt i64 %looks, %most
  br i1 %tired, label %without, label %again
again:
  call void @pause(i64 %looks)
  br label %look
taken:
  %number = getelementptr i8, ptr %line, i64 8
  store i64 %mine, ptr %number
  ret i64 1
without:
  ret i64 0
}}

define i64 @lead(ptr %team, i64 %workers, i64 %present) {{
entry:
  %most = add i64 %present, {_PATIENCE}
  br label %gather
gather:
  %i = phi i64 [1, %entry], [%i.next, %ask]
  %count = phi i64 [1, %entry], [%count.next, %ask]
  %asked = icmp ugt i64 %i, %workers
  br i1 %asked, label %start, label %ask
ask:
  %i.place = mul i64 %i, {LINE}
  %i.line = getelementptr i8, ptr %team, i64 %i.place
  %came = call i64 @take(ptr %i.line, i64 %count, i64 %most)
  %count.next = add i64 %count, %came
  %i.next = add i64 %i, 1
  br label %gather
start:
  %counts = getelementptr i8, ptr %team, i64 24
  store i64 %count, ptr %counts
  br label %call
call:
  %j = phi i64 [1, %start], [%j.next, %called]
  %calls = icmp ule i64 %j, %workers
  br i1 %calls, label %one, label %work
one:
  %j.place = mul i64 %j, {LINE}
  %j.line = getelementptr i8, ptr %team, i64 %j.place
  %ignored = cmpxchg ptr %j.line, i64 {_TAKEN}, i64 {_WORK} acq_rel monotonic
  br label %called
called:
  %j.next = add i64 %j, 1
  br label %call
work:
  call void @enter(ptr %team, i64 0)
  br label %end
end:
  %k = phi i64 [1, %work], [%k.next, %through]
  %all = icmp ugt i64 %k, %workers
  br i1 %all, label %done, label %look.entry
look.entry:
  %k.place = mul i64 %k, {LINE}
  %k.line = getelementptr i8, ptr %team, i64 %k.place
  br label %look
look:
  %looks = phi i64 [0, %look.entry], [%more, %again]
  %more = add i64 %looks, 1
  %state = load atomic i64, ptr %k.line acquire, align 8
  %busy = icmp eq i64 %state, {_WORK}
  br i1 %busy, label %again, label %through
again:
  call void @pause(i64 %looks)
  br label %look
through:
  %k.next = add i64 %k, 1
  br label %end
done:
  ret i64 %count
}}
"""
