/** The kernels: each takes the address of its params, a task number, and its worker's working memory. */
export { attention, pack as packKeysValues, scratchBytes } from './attention';
export { matmul, packPanels, packSlices } from './matmul';
export { peak } from './product';
export { binary, gather, layerNorm, unary } from './rows';
export { initialise } from './vector';
