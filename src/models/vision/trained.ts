/** Weights that were trained here for the variant `mini` of networks, and lie beside this module. */
import { assetFiles } from '../../io/asset';
import type { HostTensor } from '../../tensor/host';
import type { Published } from '../define';

/** Those at these places, in 8 bits, with their configuration; a page fetches them when they are loaded. */
export const trainedHere = <const Params extends object>(
  name: string,
  params: Params,
  weights: () => URL,
  config: () => URL,
): Published<Params> => ({
  params,
  async load() {
    const files = await assetFiles(`the trained ${name}`, { 'model.safetensors': weights, 'config.json': config });
    const { openWeights } = await import('../../weights/open');
    await using opened = await openWeights(files);
    const tensors: Record<string, HostTensor> = {};
    for (const tensor of opened.tensors.keys()) tensors[tensor] = await opened.read(tensor, { dtype: 'f32' });
    return { tensors, config: opened.config };
  },
});
