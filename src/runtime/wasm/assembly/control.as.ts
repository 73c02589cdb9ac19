import { ABORT, CONTROL } from '../params.generated.as';

/** Whether the job was cancelled. */
@inline
export function isAborted(): bool {
  return atomic.load<i32>(CONTROL + ABORT * 4) != 0;
}
