/** Tensors from and to other libraries. */
export type { AdapterOptions } from './foreign';
export { fromJax, type JaxArray, type JaxNumpy, toJax } from './jax';
export { fromOnnxruntime, type Onnxruntime, type OnnxruntimeTensor, toOnnxruntime } from './onnxruntime';
export { fromTensorFlow, type TensorFlow, type TensorFlowTensor, toTensorFlow } from './tensorflow';
