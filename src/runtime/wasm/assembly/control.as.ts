/** Where the host says that the job is cancelled: at the start of the control block (schedule.ts). */
const ABORT: usize = 64;

// @ts-ignore: decorator
@inline
export function isAborted(): bool {
  return atomic.load<i32>(ABORT) != 0;
}
