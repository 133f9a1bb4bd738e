/* Inside a transaction's end: the coordinator decides, and then writes a marker into each partition. A broker that dies
 * between the two may come back and forget the rest, as Kafka 4.3.1 does when it is alone: a part of the page is
 * visible, another lies open, and the markers of the producer's next transaction would end both. Before it publishes,
 * a relay therefore looks, aborts what is open, and publishes from the log what readers lack of a page they have begun
 * to see, or of one that the cursor claims (docs/adr/0022).
 *
 * One relay, which dies at any step and as often as it likes; brokers that forget MEMORY times; three pages. Checked in
 * every state: no row twice, none out of order. Of every run: in calm it ends, and one more term later every row is
 * visible. (Without that term, what was forgotten behind an answered commit lies open until its partitions are next
 * written to: -DONE_TERM shows it.)
 *
 * Taken as given: what was acknowledged stays in the log, and the relay sees which of it is visible, aborted, or open.
 *
 * Mistakes that it must find: -DNO_SETTLE -DNO_ABORT -DABORT_ONLY -DONE_TERM
 */
#ifndef MEMORY
#define MEMORY 3
#endif
#define PAGES 3
#define CURSOR 0                                          /* partition 0 is the cursor's, 1 and 2 are for rows */
#define bit(i) (1 << (i))
#define upto(k) (bit(k + 1) - 2)                          /* the pages 1 .. k as a set */
#define has(part) (part == CURSOR -> 14 : (part == 1 -> 6 : 10))   /* pages 1 and 2 have a row in 1; pages 1 and 3 in 2 */

mtype = { idle, ongoing, commits, aborts,                /* the coordinator's states */
          fences, settles, ends, ended, copies, begins, sends }; /* the relay's */

bool calm;
mtype transaction = idle;
byte parts;                                               /* partitions that it wrote to and that await its marker */
byte forgotten;                                           /* how often a broker forgot */
byte written[3], seen[3], lies_open[3];                   /* sets of pages, by partition */
bool jumbled[3];                                          /* what lies open would come twice or out of order */
mtype at = fences;
byte page, next_part;                                     /* the page being sent, and how far */
byte todo[3];                                             /* what settling has to publish from the log */

inline write(part, pages) {
  jumbled[part] = jumbled[part] || lies_open[part] >= (pages & -(pages));
  lies_open[part] = lies_open[part] | pages; written[part] = written[part] | pages; parts = parts | bit(part) }

inline mark(part) {                                       /* a marker ends whatever of this producer is open there */
  if
  :: transaction == commits && part != CURSOR ->
     assert(!jumbled[part]);                              /* not twice within what becomes visible */
     assert(!lies_open[part] || seen[part] < (lies_open[part] & -(lies_open[part])))   /* nor again, nor late */
  :: else
  fi;
  if :: transaction == commits -> seen[part] = seen[part] | lies_open[part] :: else fi;
  lies_open[part] = 0; jumbled[part] = false; parts = parts & ~bit(part) }

#define decided (transaction == commits || transaction == aborts)
#define newest(set) (set & 8 -> 3 : (set & 4 -> 2 : (set & 2 -> 1 : 0)))
#define any_open (lies_open[0] || lies_open[1] || lies_open[2])
#define any_todo (todo[0] || todo[1] || todo[2])

proctype Kafka() {
  byte part;
end:
  do
  :: d_step { decided && parts & 1 -> mark(0) }
  :: d_step { decided && parts & 2 -> mark(1) }
  :: d_step { decided && parts & 4 -> mark(2) }
  :: d_step { decided && !parts -> transaction = idle }
  :: d_step { !calm && decided && parts && forgotten < MEMORY -> forgotten++; parts = 0; transaction = idle }
  od }

inline look() {                                           /* what readers see decides; `page` is the last that counts */
  page = newest(seen[CURSOR]);
#ifndef ABORT_ONLY
  if :: newest(seen[1]) > page -> page = newest(seen[1]) :: else fi;
  if :: newest(seen[2]) > page -> page = newest(seen[2]) :: else fi;
#endif
  todo[0] = upto(page) & ~seen[0];
  todo[1] = upto(page) & has(1) & ~seen[1]; todo[2] = upto(page) & has(2) & ~seen[2];
  assert(!(todo[1] & ~written[1]) && !(todo[2] & ~written[2])) }        /* the log has it */

inline restart() { at = fences; page = 0; next_part = 0; todo[0] = 0; todo[1] = 0; todo[2] = 0 }

proctype Relay() {
end:
  do
  :: d_step { at == fences && transaction == ongoing -> transaction = aborts }
#ifdef NO_SETTLE
  :: d_step { at == fences && transaction == idle -> page = newest(seen[CURSOR]); at = begins }
#else
  :: d_step { at == fences && transaction == idle -> at = settles }
#endif
  :: d_step { at == settles -> look();
       if :: any_open -> at = ends :: else -> at = (any_todo -> copies : begins) fi }
#ifdef NO_ABORT
  :: d_step { at == ends -> at = (any_todo -> copies : begins) }
#else
  :: d_step { at == ends -> transaction = aborts; at = ended;           /* a transaction of nothing but markers */
       parts = (lies_open[0] -> 1 : 0) | (lies_open[1] -> 2 : 0) | (lies_open[2] -> 4 : 0) }
  :: d_step { at == ended && transaction == idle && any_open -> restart() }
  :: d_step { at == ended && transaction == idle && !any_open -> at = (any_todo -> copies : begins) }
#endif
  :: d_step { at == copies && transaction == idle -> transaction = ongoing }
  :: d_step { at == copies && next_part < 3 && transaction == ongoing ->
       if :: todo[next_part] -> write(next_part, todo[next_part]) :: else fi; next_part++ }
  :: d_step { at == copies && next_part == 3 && transaction == ongoing -> transaction = commits; next_part = 0; at = begins }
  :: d_step { at == begins && transaction == idle && page < PAGES -> page++; transaction = ongoing; at = sends }
  :: d_step { at == sends && next_part < 3 && transaction == ongoing ->
       if :: has(next_part) & bit(page) -> write(next_part, bit(page)) :: else fi; next_part++ }
  :: d_step { at == sends && next_part == 3 && transaction == ongoing -> transaction = commits; next_part = 0; at = begins }
  :: d_step { !calm && at != fences -> restart() }
  od }

init {
  atomic { run Kafka(); run Relay() };
progress_storm:
  calm = true;
#ifndef ONE_TERM
  atomic { timeout -> restart() };
#endif
#ifndef NO_SETTLE                                         /* of that one the doubled rows are to be found, not the lost */
  timeout -> assert(seen[1] == has(1) && seen[2] == has(2))
#endif
}
