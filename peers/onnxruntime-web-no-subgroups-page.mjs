/** As onnxruntime-web-native-page, on a device without subgroups, of which its flash attention needs larger ones than some have. */
const { requestDevice } = GPUAdapter.prototype;

GPUAdapter.prototype.requestDevice = function (descriptor) {
  const features = [...(descriptor?.requiredFeatures ?? [])].filter((name) => !name.startsWith('subgroup'));
  return requestDevice.call(this, { ...descriptor, requiredFeatures: features });
};

export { open } from './onnxruntime-web-native-page.mjs';
