/**
 * The predictor of regions: blocks of its own on top of the model's first ones, and one dot product for each place of the picture.
 * Source: Shi et al. 2025, arXiv 2509.16944, and the authors' code: names, heads, labels, loss.
 */
import { roiLabels } from '../../methods/pipelines/roi-labels';
import type { Described } from '../../nn/module';
import { project } from '../../nn/projection';
import { contiguous } from '../../ops/copy';
import { map } from '../../ops/map/map';
import { matmul } from '../../ops/matmul';
import { rmsNorm } from '../../ops/norm';
import { sum } from '../../ops/reduce';
import type { Tensor } from '../../tensor/tensor';
import { block, blockParameters, lastWords, maskOf, type ViewerConfig } from './viewer';

type Parameters = Readonly<Record<string, Tensor>>;

/** What the last of its blocks has, whose queries and keys alone are taken. */
const LAST = ['input_layernorm.weight', 'self_attn.q_proj.weight', 'self_attn.k_proj.weight'];

/** Those of its blocks, which start as the model's, and of a norm. */
export function predictorParameters(config: ViewerConfig): Described {
  const own = blockParameters(config);
  const described: Record<string, Described[string]> = {
    'twig_norm.weight': { shape: [config.width], initial: { value: 1 } },
  };
  for (let layer = 0; layer < config.predictor; layer++)
    for (const [name, each] of Object.entries(own))
      if (layer < config.predictor - 1 || LAST.includes(name)) described[`twig_layers.${layer}.${name}`] = each;
  return described;
}

/** The name of the parameter that one of the predictor starts from; undefined for that of its norm. */
export const startOf = (name: string, { frozen }: ViewerConfig): string | undefined =>
  /^twig_layers\.\d+\./.test(name)
    ? name.replace(/^twig_layers\.(\d+)/, (_, layer) => `layers.${Number(layer) + frozen}`)
    : undefined;

/** Logits of the places of the first view for each question, [b, s, side²], of tokens after the frozen blocks. */
export function regionLogits(p: Parameters, tokens: Tensor, n: number, config: ViewerConfig): Tensor<'f32'> {
  const { heads, predictor, side, width } = config;
  let h = tokens;
  for (let layer = 0; layer < predictor - 1; layer++) h = block(p, `twig_layers.${layer}`, h, heads, maskOf(n)).h;
  const last = `twig_layers.${predictor - 1}`;
  const normed = (x: Tensor) =>
    rmsNorm(rmsNorm(x, { gain: p['twig_norm.weight'] as Tensor }), {
      gain: p[`${last}.input_layernorm.weight`] as Tensor,
    });
  const queries = project(`${last}.self_attn.q_proj`, normed(lastWords(h, n)), p, {});
  const places = contiguous(h.slice(1, 0, side ** 2) as Tensor<'f32'>);
  const keys = project(`${last}.self_attn.k_proj`, normed(places), p, {});
  // The mean over heads of their products over sqrt(d) is one product over h sqrt(d).
  const scale = 1 / (heads * Math.sqrt(width / heads));
  const products = matmul(queries, keys, { transposeB: true });
  return map((product, { scale }) => scale * product, products, { captured: { scale } }) as Tensor<'f32'>;
}

/** Binary cross entropy of logits with labels 1 and 0, the mean over those; 0 where all others are open. */
export function regionLoss(logits: Tensor, labels: Tensor): Tensor<'f32'> {
  const { losses, counts } = map(
    (x, label) => {
      // log(1 + e^x) - label x, without overflow.
      const loss = Math.max(x, 0) - label * x + Math.log(1 + Math.exp(-Math.abs(x)));
      return { losses: label < 0 ? 0 : loss, counts: label < 0 ? 0 : 1 };
    },
    logits,
    labels,
    { dtype: 'f32' },
  ) as { losses: Tensor; counts: Tensor };
  return map((loss, count) => loss / Math.max(count, 1), sum(losses), sum(counts)) as Tensor<'f32'>;
}

/** Labels [b, s, side²] of what each question attends to, 1, 0 or -100, where places with any of `sinks` do not count. */
export function labelsOf(attention: Tensor, sinks: Tensor | undefined, side: number): Tensor {
  const [b, s] = attention.shape as [number, number];
  const maps = (x: Tensor) => x.reshape([b * s, side, side]);
  const given = { attention: maps(attention), ...(sinks && { sinks: maps(sinks) }) };
  return roiLabels.forward(given, roiLabels.parse({})).labels.reshape([b, s, side ** 2]);
}
