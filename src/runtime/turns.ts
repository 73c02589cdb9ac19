/** Long work on the calling thread in steps, between which other tasks run and the call can be cancelled. */
import { othersTurn, type Pause, TURN_MILLISECONDS } from './order';

/** Work that stops after each step and yields the share that is done, from 0 to 1. */
export type Steps<Value> = Generator<number, Value, void>;

/** Runs all steps at once. */
export function atOnce<Value>(steps: Steps<Value>): Value {
  for (;;) {
    const { done, value } = steps.next();
    if (done) return value;
  }
}

/** Runs the steps with pauses for other tasks; after each pause, `check` throws if the call is to end. */
export function* inTurns<Value>(
  steps: Steps<Value>,
  onProgress: ((share: number) => void) | undefined,
  check: () => void,
): Generator<Pause, Value, void> {
  try {
    for (;;) {
      const turn = oneTurn(steps);
      if (turn.done) return turn.value;
      onProgress?.(turn.value);
      yield othersTurn();
      check();
    }
  } finally {
    // Frees what the steps hold.
    steps.return(undefined as never);
  }
}

function oneTurn<Value>(steps: Steps<Value>): IteratorResult<number, Value> {
  const end = performance.now() + TURN_MILLISECONDS;
  for (;;) {
    const step = steps.next();
    if (step.done || performance.now() >= end) return step;
  }
}

/** The steps of one of `count` equal parts of a whole. */
export function* partOf<Value>(steps: Steps<Value>, index: number, count: number): Steps<Value> {
  for (;;) {
    const { done, value } = steps.next();
    if (done) return value;
    yield (index + value) / count;
  }
}
