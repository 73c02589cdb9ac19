import { ABORT, CONTROL } from '../params.generated.as';

/** Whether the host says that the job is cancelled. */
// @ts-ignore: decorator
@inline
export function isAborted(): bool {
  return atomic.load<i32>(CONTROL + ABORT * 4) != 0;
}
