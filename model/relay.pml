/* The relay's protocol, every interleaving of it: two relays, a lease that may be lost at any moment, a fence, and a
 * cursor that commits together with the rows it covers. Faults come at any step and as often as they like: a relay
 * dies; a holder of the lease is frozen, loses it, and goes on; an answer to EndTxn is lost, or the request arrives
 * much later; the coordinator aborts a transaction that was open for too long; an operator rebases in the midst of it.
 *
 * Checked in every state: no row twice and none out of its key's order for a `read_committed` reader, no cursor ahead
 * of the rows, nothing of an older generation after a rebase. Checked of every run: when the storm is over (`calm`) it
 * ends, that is, it goes in no circle, and ends with every committed row published.
 *
 * Taken as given: a commit shows all of a transaction at once (undecided.pml looks inside), the coordinator refuses
 * older epochs, and PostgreSQL's snapshots are what they say. An epoch is not a number here, which keeps the states
 * finite: `owner` has the newest one, and a fence makes requests that are still under way worthless.
 *
 * Mistakes that it must find: -DNO_FENCE -DCURSOR_FIRST -DREUSE -DCURSOR_APART -DID_CURSOR -DNO_CONFIRM
 * -DNO_HEARTBEAT -DREBASE_UNFENCED
 */
#ifndef ROWS
#define ROWS 3
#endif
#define PAGE 2
#define ALL  ((1 << ROWS) - 1)
#define EVEN 5                                            /* rows 0 and 2 have one key, 1 and 3 the other: a batch each */
#define OPERATOR 3
#define key(i) (i & 1 -> ALL & ~EVEN : EVEN)
#define above(i) (ALL & ~((1 << (i + 1)) - 1))

mtype = { standby, leading, fenced, ready, begun, half, asked, apart };

typedef Place { byte seen, window, last, generation };    /* seen and window are sets of rows; 0: no window is open */
typedef Transaction { bool open; byte rows; Place cursor };

bool calm;                                                /* no more faults */
byte committed;                                           /* PostgreSQL: the rows that a snapshot sees now */
byte lease;                                               /* who holds the advisory lock; 0: nobody */
byte owner;                                               /* Kafka: who has the newest epoch */
Transaction open[4];                                      /* by producer; where there is a fence, at most one is open */
bool ending[4];                                           /* an EndTxn on its way */
Place cursor;                                             /* the last committed one */
byte published[2];                                        /* by generation: what a read_committed reader has seen */
mtype at[4] = standby;
bool answered[4];
Place place[4];                                           /* a relay's memory: where its page leads */
byte page[4];

inline clear(it) { it.seen = 0; it.window = 0; it.last = 0; it.generation = 0 }
inline copy(to, from) {
  to.seen = from.seen; to.window = from.window; to.last = from.last; to.generation = from.generation }
inline forget(p) { open[p].open = false; open[p].rows = 0; clear(open[p].cursor); ending[p] = false }

inline fence(p) {                                         /* InitProducerId: older epochs refused, open ones aborted */
  owner = p;
#ifdef NO_FENCE
  if :: p -> forget(p) :: else fi
#else
  forget(1); forget(2)
#endif
}
#ifdef NO_FENCE
#define mine(p) true                                      /* a transactional id for each */
#else
#define mine(p) (owner == p)
#endif

inline advance(to) {                                      /* the cursor may not be ahead of the rows */
  copy(cursor, to);
  assert(!((cursor.seen | (cursor.window & ((1 << cursor.last) - 1))) & ~published[cursor.generation])) }

inline commit(p) {                                        /* all of it becomes visible; i, g are the caller's */
  g = open[p].cursor.generation; assert(g >= cursor.generation);
  for (i : 0 .. ROWS - 1) {
    if :: open[p].rows & (1 << i) ->
          assert(!(published[g] & (1 << i)));             /* not twice */
          assert(!(published[g] & key(i) & above(i)))     /* in order */
       :: else fi }
  published[g] = published[g] | open[p].rows;
#ifndef CURSOR_APART
  advance(open[p].cursor);
#endif
  forget(p); i = 0; g = 0 }

inline read(me) {                                         /* a page of the window; opens one when none is open */
  if :: !place[me].window -> place[me].window = committed :: else fi;
  i = place[me].last; n = 0; page[me] = 0;
  do
  :: i < ROWS && n < PAGE ->
     if :: place[me].window & ~place[me].seen & (1 << i) -> page[me] = page[me] | (1 << i); n++ :: else fi;
     i++
  :: else -> break
  od;
#ifdef ID_CURSOR
  place[me].window = (1 << i) - 1;                        /* everything up to the highest number counts as seen */
#endif
  if :: n == PAGE -> place[me].last = i
     :: else -> place[me].seen = place[me].window; place[me].window = 0; place[me].last = 0 fi;
  i = 0; n = 0 }

inline become(state) { at[me] = state; page[me] = 0; answered[me] = false; clear(place[me]) }

#ifdef NO_CONFIRM
#define confirmed true
#else
#define confirmed (lease == me)
#endif

proctype Relay(byte me) {
  byte i, n;
end:
  do
  :: d_step { at[me] == standby && !lease -> lease = me; become(leading) }
  :: d_step { at[me] == leading && !confirmed -> become(standby) }               /* another leads: this process ends */
#ifdef CURSOR_FIRST
  :: d_step { at[me] == leading && confirmed -> copy(place[me], cursor); at[me] = fenced }
  :: d_step { at[me] == fenced -> fence(me); at[me] = ready }
#else
  :: d_step { at[me] == leading && confirmed -> fence(me); at[me] = fenced }
  :: d_step { at[me] == fenced -> copy(place[me], cursor); at[me] = ready }
#endif
  :: d_step { at[me] == ready && (place[me].window || committed & ~place[me].seen) ->
       read(me); if :: page[me] -> at[me] = begun :: else fi }
  :: d_step { at[me] == begun && mine(me) -> open[me].open = true; copy(open[me].cursor, place[me]);
       open[me].rows = page[me] & EVEN; at[me] = half }                          /* cursor and one batch, acknowledged */
  :: d_step { at[me] == half && mine(me) -> open[me].rows = page[me]; ending[me] = true; at[me] = asked }
#ifdef CURSOR_APART
  :: d_step { at[me] == asked && answered[me] -> at[me] = apart }
  :: d_step { at[me] == apart -> advance(place[me]); page[me] = 0; answered[me] = false; at[me] = ready }
#else
  :: d_step { at[me] == asked && answered[me] -> page[me] = 0; answered[me] = false; at[me] = ready }
#endif
  :: d_step { (at[me] == begun || at[me] == half || at[me] == asked) && !mine(me) ->
       become(leading) }                                                         /* refused: discard, fence anew */
#ifndef NO_HEARTBEAT
  :: d_step { at[me] == ready && !mine(me) -> become(leading) }                  /* an idle one learns it so */
#endif
  :: d_step { !calm && at[me] == asked ->                                        /* no answer within the deadline */
#ifdef REUSE
       open[me].open = false; open[me].rows = 0; at[me] = begun }                /* aborts, and sends the page again */
#else
       become(leading) }
#endif
  :: d_step { !calm && at[me] != standby -> become(standby) }                    /* dies */
  od }

proctype Kafka() {
  byte i, g;
end:
  do
  :: d_step { ending[1] && mine(1) -> if :: open[1].open -> commit(1) :: else fi; ending[1] = false; answered[1] = at[1] == asked }
  :: d_step { ending[2] && mine(2) -> if :: open[2].open -> commit(2) :: else fi; ending[2] = false; answered[2] = at[2] == asked }
  :: d_step { !calm && (open[1].open || open[2].open) -> fence(0) }              /* timed out */
  od }

proctype Postgres() {
end:
  do
  :: d_step { !(committed & 1) -> committed = committed | 1 }
  :: d_step { !(committed & 2) -> committed = committed | 2 }
  :: d_step { ROWS > 2 && committed & 1 && !(committed & 4) -> committed = committed | 4 }  /* its key is locked till then */
  :: d_step { ROWS > 3 && committed & 2 && !(committed & 8) -> committed = committed | 8 }
  :: d_step { (lease == 1 || lease == 2) && at[lease] == standby -> lease = 0 }  /* the session of one that died */
  :: d_step { !calm && lease -> lease = 0 }                                      /* of one that was silent for too long */
  od }

proctype Rebase() {                                       /* an operator lets everything be published once more */
end_waiting:
  atomic { !lease -> lease = OPERATOR };
#ifdef REBASE_UNFENCED
  d_step { clear(cursor); cursor.generation = 1 };
#else
  d_step { fence(OPERATOR) };
  if
  :: d_step { mine(OPERATOR) -> clear(cursor); cursor.generation = 1 }
  :: !mine(OPERATOR) -> goto end_waiting
  fi;
#endif
  if :: lease == OPERATOR -> lease = 0 :: lease != OPERATOR fi }

init {
  atomic { run Relay(1); run Relay(2); run Kafka(); run Postgres(); if :: run Rebase() :: skip fi };
progress_storm:
  calm = true;
  timeout -> assert(committed == ALL && published[cursor.generation] == ALL) }
