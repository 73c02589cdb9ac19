/** Long work on the calling thread, in steps: others have their turn in between, and a call can be cancelled there. */
import { othersTurn, type Pause, TURN_MILLISECONDS } from './order';

/** Work that stops after each step to say which share of it is done, from 0 to 1. */
export type Steps<Value> = Generator<number, Value, void>;

/** Works `steps` off at once. */
export function atOnce<Value>(steps: Steps<Value>): Value {
  for (;;) {
    const { done, value } = steps.next();
    if (done) return value;
  }
}

/**
 * Works `steps` off in turns, with a pause between them in which others have theirs. Before each but the first it throws
 * what `check` throws, which is where a call learns that it is to end.
 */
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
    // What the steps hold they let go of.
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

/** The steps of one of `count` equal parts of the whole. */
export function* partOf<Value>(steps: Steps<Value>, index: number, count: number): Steps<Value> {
  for (;;) {
    const { done, value } = steps.next();
    if (done) return value;
    yield (index + value) / count;
  }
}
