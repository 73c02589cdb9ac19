/** Kernels over vectors of four elements. */

export const VECTOR_INVOCATIONS = 64;
/** Vectors of an invocation, a workgroup's width apart. */
const VECTORS = 8;
const RUN = VECTOR_INVOCATIONS * VECTORS * 4;

/** Runs `each` for the vectors of a task, which begin at element `i`; `size` rounds up, since buffers end at vectors. */
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
