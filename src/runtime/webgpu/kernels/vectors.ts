/** Kernels over vectors of four elements. */

export const VECTOR_INVOCATIONS = 64;
/** Vectors of four elements that an invocation takes, a workgroup's width apart. */
const VECTORS = 8;
const RUN = VECTOR_INVOCATIONS * VECTORS * 4;

/** `each` with the vectors `i` of a task; `size` rounds up, as no vector passes the end of a buffer. */
export const overVectors = (each: string) => `
fn run(task: u32, lane: u32) {
  for (var vector = 0u; vector < ${VECTORS}; vector++) {
    let i = task * ${RUN} + (vector * ${VECTOR_INVOCATIONS} + lane) * 4;
    if (i < numbers.size) {
      ${each}
    }
  }
}`;

export const vectorTasks = (size: number) => Math.ceil(size / RUN);
