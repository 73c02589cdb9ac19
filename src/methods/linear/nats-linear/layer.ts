/** The layer of NAtS-L: gates, routes, weights of the branches, gains, an output gate. */
import { pad } from '../../../ops/copy';
import { map } from '../../../ops/map/map';
import { matmul } from '../../../ops/matmul';
import { sum } from '../../../ops/reduce';
import type { Tensor } from '../../../tensor/tensor';
import type { Layer, LayerConfig, LayerParameter } from '../../define';
import { gateParameters, gates } from '../gated-delta-rule/layer';
import type { Params } from './params';

/** Of a decoder `before`, too: how many tokens each row has seen. */
type Given = Readonly<Record<'q' | 'k' | 'v', Tensor>> & { readonly before?: Tensor };

export function layer(config: LayerConfig, { chunk }: Params): Layer {
  const { width, heads: h, d, e } = config;
  const { a, p, r } = softmaxHeads(config);
  const matrix = (out: number, into: number): LayerParameter => ({ shape: [out, into], initial: { std: 0.02 } });
  const ones = (extent: number): LayerParameter => ({ shape: [extent], initial: { value: 1 } });
  return {
    parameters: {
      ...gateParameters(config),
      'g_proj.weight': matrix(h * e, width),
      'route_proj.weight': matrix(2 * h, width),
      'mix_proj.weight': matrix(2 * a, h * d),
      'softmax_q_norm.weight': ones(p),
      'softmax_k_norm.weight': ones(p),
      'softmax_norm.weight': ones(r),
      'delta_norm.weight': ones(r),
    },
    isSequential: true,
    inputs(x, { q, before }: Given, parameters) {
      const [b, n] = x.shape as [number, number];
      const of = (name: string) => parameters[name] as Tensor;
      const project = (x: Tensor, name: string) => matmul(x, of(name), { transposeB: true });
      const routes = project(x, 'route_proj.weight').reshape([b, n, h, 2]);
      return {
        ...gates(x, parameters),
        gate: project(x, 'g_proj.weight').reshape([b, n, h, e]),
        // The mean of what is projected is the projection of the mean. In a decoder tokens may begin within a chunk: it takes the means.
        route: before ? routes : chunkMeans(routes, chunk),
        mix: project(q.reshape([b, n, h * d]), 'mix_proj.weight').reshape([b, n, a, 2]),
        gain_q: of('softmax_q_norm.weight'),
        gain_k: of('softmax_k_norm.weight'),
        gain_softmax: of('softmax_norm.weight'),
        gain_delta: of('delta_norm.weight'),
      };
    },
  };
}

/** As in the paper's models two softmax heads for each of the delta rule, of 64 channels there; one where they do not divide evenly. */
export function softmaxHeads({ heads: h, d, e }: Pick<LayerConfig, 'heads' | 'd' | 'e'>) {
  const a = d % 2 === 0 && e % 2 === 0 ? 2 * h : h;
  return { a, p: (h * d) / a, r: (h * e) / a };
}

/** The means of x [b, n, h, 2] over the tokens of each chunk, [b, chunks, h, 2]. */
export function chunkMeans(x: Tensor, chunk: number): Tensor {
  const [b, n, h, two] = x.shape as [number, number, number, number];
  const chunks = Math.ceil(n / chunk);
  const whole =
    n === chunks * chunk
      ? x
      : pad(x, [
          [0, 0],
          [0, chunks * chunk - n],
          [0, 0],
          [0, 0],
        ]);
  const counts = Float32Array.from({ length: chunks }, (_, at) => Math.min(chunk, n - at * chunk));
  const sums = sum(whole.reshape([b, chunks, chunk, h, two]), { axes: [2] });
  return map((sum, count) => sum / count, sums, x.runtime.tensor(counts, [chunks, 1, 1]));
}
