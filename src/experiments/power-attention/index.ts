/** How far PowerAttention and the masks it is compared to reach by layer, and how fast they are here. */
import { area } from '../../masks/area';
import { longNet } from '../../masks/longnet';
import { type Mask, oneHead } from '../../masks/mask';
import { dilatedBlocks, power, powersOfTwo, slidingBlocks, strideSlash } from '../../masks/power';
import { sees } from '../../methods/sparse/power-attention/reference';
import { receptiveField } from '../../simulate/reach';
import { formatPercent, formatRatio, significant } from '../../text/format';
import {
  byLabel,
  chart,
  defineExperiment,
  figure,
  type MeasureContext,
  OF_POSSIBLE,
  share,
  together,
} from '../experiment';
import { DENSE, timeBesideCausal } from '../mask-speed';

/** The paper's setting: 32K tokens in blocks of 256. */
const BLOCKS = 128;
const BLOCK = 256;
/** Layers after which every mask has reached all that it ever reaches. */
const LAYERS = 20;
const WINDOW = 5;
/** Layers in which, according to the paper, power and stride reach 32K tokens and a sliding window does not. */
const PROPAGATING = 6;

/** Params as the paper has them; the stride is reconstructed from its "3 slash blocks" at 32K. */
const masksOf = (block: number) => ({
  power: power({ block, window: WINDOW }),
  sliding: slidingBlocks({ block, window: 9 }),
  'stride 32': strideSlash({ block, window: 6, stride: 32 }),
  dilated: dilatedBlocks({ block, reach: 20, step: 2 }),
  LongNet: longNet({ block }),
});
type Name = keyof ReturnType<typeof masksOf>;

export const experiment = defineExperiment({
  title: 'reach by layer of power-of-two distances and of four baselines; time beside dense causal attention',
  claims: {
    powers: {
      claim: 'Distances that are powers of two alone reach every earlier one of n tokens in log2 n layers.',
      source: 'paper, theorem B.1',
      criteria: { agreeing: share('share of the lengths that take log2 n layers', [1, 1]) },
      byConstruction: true,
    },
    propagation: {
      claim: 'With power distances and with strides the last block has reached all 32K tokens after 6 layers.',
      source: 'paper, passkey retrieval',
      criteria: {
        power: share('share of the blocks that power reaches', [1, 1]),
        stride: share('share that stride 32 reaches', [1, 1], [0.5, 1]),
      },
    },
    sliding: {
      claim: 'A sliding window loses what lies 12K to 16K tokens back: information lives for about 6 layers.',
      source: 'paper, passkey retrieval',
      criteria: {},
      untested: 'No model was trained, and how many layers information survives in one cannot be counted on a mask.',
    },
    dilated: {
      claim: 'A dilated window finds about half of the passkeys at every length.',
      source: 'paper, passkey retrieval',
      criteria: { reached: share('share of the blocks ever reached', [0.5, 0.5]) },
      byConstruction: true,
    },
    firstLayer: {
      claim: 'The last block of a sliding window with a sink sees 7.82% of the blocks in one layer.',
      source: 'paper, figure 1b and appendix A',
      criteria: { seen: share('share of the blocks seen', [0.0781, 0.0783]) },
      byConstruction: true,
    },
    sparsity: {
      claim: 'All masks compared are 0.94 sparse at 32K tokens.',
      source: 'paper',
      criteria: { distance: share('largest distance from 0.94', [0, 0.005], [0, 0.02]) },
    },
    speed: {
      claim: 'At 128K tokens the kernel is 21.6 times as fast as full attention; the gain grows with the length.',
      source: 'paper, speed at 128K',
      criteria: {
        growth: figure('least gain from one length to the next, ratio', [1.1, 2.5], [0.2, 2.5]),
        share: figure('speed-up at the longest, of what the pairs saved allow', [0.7, 1.15], [0.4, 1.15], OF_POSSIBLE),
      },
      untested: 'The figure is of an A800 and of a length not tried here.',
      timed: true,
    },
    cost: {
      claim: 'It costs about what a sliding window of as many blocks costs.',
      source: 'paper',
      criteria: { ratio: figure("time for a pair seen, over a sliding window's", [0.8, 1.25], [0.6, 1.6], [0.2, 5]) },
      timed: true,
    },
  },
  measure: {
    ...together(['powers', 'propagation', 'sliding', 'dilated', 'firstLayer'], reaches),
    sparsity,
    ...together(['speed', 'cost'], speeds),
  },
});

/** Blocks that the last of `blocks` reaches by layer. */
function reachOf(mask: Mask, blocks: number): number[] {
  const place = oneHead(blocks, blocks);
  return receptiveField((_, query) => mask.intervals?.(query, place) ?? [], blocks, { layers: LAYERS });
}

function reaches() {
  const reach = Object.fromEntries(
    Object.entries({ ...masksOf(1), 'stride 40': strideSlash({ block: 1, window: 6, stride: 40 }) }).map(
      ([name, mask]) => [name, reachOf(mask, BLOCKS)],
    ),
  ) as Record<Name | 'stride 40', number[]>;
  const at = (name: keyof typeof reach, layer: number) => (reach[name][layer - 1] ?? reach[name].at(-1)) as number;
  const share = (name: keyof typeof reach, layer: number) => at(name, layer) / BLOCKS;
  const layersOf = (name: keyof typeof reach) => reach[name].length;
  const layers = Array.from(
    { length: Math.max(...Object.values(reach).map((counts) => counts.length)) },
    (_, at) => at + 1,
  );
  const sizes = [16, 32, 64, 128, 256, 512, 1024];
  const logs = sizes.map((blocks) => reachOf(powersOfTwo(), blocks).length);
  const agreeing = sizes.filter((blocks, index) => logs[index] === Math.log2(blocks)).length;

  return {
    powers: {
      measured: `${logs.join(', ')} layers for n = ${sizes.join(', ')}`,
      values: { agreeing: agreeing / sizes.length },
    },
    propagation: {
      measured: `after ${PROPAGATING} layers ${at('power', PROPAGATING)} of ${BLOCKS} blocks; stride 32: ${at('stride 32', PROPAGATING)}, all in ${layersOf('stride 32')} layers; stride 40: ${at('stride 40', PROPAGATING)}, all in ${layersOf('stride 40')}`,
      values: { power: share('power', PROPAGATING), stride: share('stride 32', PROPAGATING) },
      details: `Counted on the masks, the least upper bound of what a model can use (paper, appendix A); no model was trained. ${BLOCKS} blocks of ${BLOCK} tokens. The stride is reconstructed: the paper says "3 slash blocks" at 32K, which 32 to 40 give.`,
      series: chart(
        `Blocks of ${BLOCKS} that the last one reaches, by layer`,
        { layer: layers },
        byLabel(Object.keys(reach) as (keyof typeof reach)[], (name) => layers.map((layer) => at(name, layer))),
      ),
    },
    sliding: {
      measured: `by arithmetic ${at('sliding', PROPAGATING) * BLOCK} tokens are reached in ${PROPAGATING} layers, all in ${layersOf('sliding')}`,
      values: {},
    },
    dilated: {
      measured: `${at('dilated', LAYERS)} of ${BLOCKS} blocks reached, in any number of layers: ${formatPercent(share('dilated', LAYERS))}`,
      values: { reached: share('dilated', LAYERS) },
      details: 'Odd distances are never reached, since sums of even ones are even. What is not reached no model finds.',
    },
    firstLayer: {
      measured: `${at('sliding', 1)} of ${BLOCKS} blocks: ${(100 * share('sliding', 1)).toFixed(2)}%`,
      values: { seen: share('sliding', 1) },
    },
  };
}

function sparsity() {
  const extent = { b: 1, n: BLOCKS, m: BLOCKS, h: 1, g: 1 };
  const shares = Object.entries(masksOf(1)).map(([name, mask]) => ({
    name,
    share: 1 - area(mask, extent) / BLOCKS ** 2,
  }));
  return {
    measured: shares.map(({ name, share }) => `${name} ${share.toFixed(3)}`).join(', '),
    values: { distance: Math.max(...shares.map(({ share }) => Math.abs(share - 0.94))) },
    details: 'Blocks not seen, over all blocks of the square, those after the query included.',
  };
}

async function speeds(context: MeasureContext) {
  const { quick } = context;
  const [h, d] = quick ? [1, 32] : [2, 128];
  const lengths = quick ? [512, 1024] : [4096, 8192, 16_384];
  const block = quick ? 16 : BLOCK;
  const problems = lengths.map((n) => ({
    ...{ n, h, d, masks: masksOf(block) },
    sees: { power: sees({ block, window: WINDOW, sink: true }, { n, m: n }) },
  }));
  const { contest, densities, error } = await timeBesideCausal(problems, 60, context);
  const speedups = contest.speedups('power', DENSE);
  const [density, near] = [densities.power.at(-1)!, densities.sliding.at(-1)!];
  const share = contest.over((times) => (times[DENSE].at(-1)! / times.power.at(-1)!) * density);
  const ratio = contest.over(({ power, sliding }) => (power.at(-1)! / sliding.at(-1)!) * (near / density));
  const time = contest.medians.power.at(-1)! / contest.medians.sliding.at(-1)!;
  const last = lengths.at(-1);
  return {
    speed: {
      measured: `${lengths.map((n, at) => `${formatRatio(speedups[at]!)} at ${n}`).join(', ')}; ${formatPercent(share.value)} of what the pairs saved allow at ${last}`,
      values: { growth: contest.leastGain('power', DENSE), share },
      details: `Against dense causal attention of the same kernels: n = ${lengths.join(', ')}, h = ${h}, d = ${d}, f32, blocks of ${block}, window ${WINDOW} and sink, forward only. Each result was first checked against float64 on 12 queries: largest error ${error.toExponential(1)} of the largest |v|.`,
      series: [
        chart('Milliseconds', { n: lengths }, contest.medians),
        chart('Speed-up over dense causal', { n: lengths }, contest.allSpeedups(DENSE)),
        chart('Pairs seen, of those of dense causal', { n: lengths }, densities),
      ],
    },
    cost: {
      measured: `${significant(time)} times the time of sliding at ${last}, for ${significant(density / near)} times the pairs`,
      values: { ratio },
      details: 'As many blocks for the last of 128; at shorter lengths power sees fewer than the window.',
    },
  };
}
