/**
 * Parallax's forward pass on a GPU: attention's first, whose log-sum-exps give the weights again; then one kernel over the same
 * pairs for the tilted values and the level, and one that puts them together. Rows that came out as no number are done
 * again, so that what a query does not see has no part in it: an infinite value may give NaN where the definition has infinity.
 */
import type { Steps } from '../../runtime/turns';
import { type Kernel, variants } from '../../runtime/webgpu/kernel';
import { functions } from '../../runtime/webgpu/kernels/functions';
import { strideOf } from '../../runtime/webgpu/kernels/product';
import type { Plan, Workspace } from '../../runtime/webgpu/plan';
import { type BackwardHook, planAttentionBackward, rowsGradients } from '../attention/backward/webgpu';
import {
  BY_PROBE,
  BY_SCORE,
  GRAD_Q,
  GRAD_V,
  type Gradient,
  type PairHook,
  WEIGHT,
} from '../attention/backward/webgpu/gradients';
import { OTHERS } from '../attention/backward/webgpu/pairs';
import { rowsCutOf } from '../attention/backward/webgpu/rows';
import { type GradientsKernel, tiledGradients } from '../attention/backward/webgpu/tiled';
import { tilesOf } from '../attention/block-map/tiles';
import { tileMap } from '../attention/block-map/webgpu';
import { extentsOf } from '../attention/cpu';
import { planAttention, widthsOf } from '../attention/forward/webgpu';
import { carefulCode, INVOCATIONS, markNaN } from '../attention/forward/webgpu/careful';
import { type ScoreShader, scoreCode } from '../attention/score/webgpu';
import { type AttentionVariant, attentionDispatch, attentionKernel, INPUTS } from '../attention/webgpu/common';
import { type AttentionSizes, sizesOf } from '../attention/webgpu/sizes';
import { TENSORS } from '../attention/webgpu/sources';
import type { ParallaxBackwardCall, ParallaxCall } from './call';

const vectors = { access: 'read', rank: 4, vector: true } as const;

/** What the forward pass sums beside attention: weights times the products of keys with r, and values by these. */
const TILT: PairHook = {
  name: 'tilt',
  second: 'r',
  hasGradOut: false,
  rows: ['lse'],
  pair: 'let weight = select(vec4f(), plain * probe, is_seen);',
  sum: {
    operands: { level: { access: 'write', rank: 3 } },
    rows: {
      declare: 'var level = 0.0;',
      add: 'level += dot(weight, vec4f(1));',
      store: 'store_level(at_level(batch, row, first_head), level);',
    },
    tiled: (halves) => ({
      declare: 'var level = vec4f();',
      // The weights of a tile, four own rows a lane.
      add: `
    workgroupBarrier();
    if (lane < ${8 * halves}u) {
      for (var r = 0u; r < ${OTHERS}u; r++) { level += weights[r * ${strideOf(halves)} + lane]; }
    }`,
      store: `
  if (lane < ${8 * halves}u) {
    for (var r = 0u; r < 4; r++) {
      let query = query_at(owner * ${32 * halves}u + 4 * lane + r);
      if (query >= 0) { store_level(at_level(batch, u32(query), first_head), level[r]); }
    }
  }`,
    }),
  },
};
const TILTED: Gradient = { name: 'tilted', extent: 'e', terms: [WEIGHT] };

/** What the gradients are made of (backward.as.ts has the formulas), from 1 + level and the mean of a row's products. */
const GRADIENTS: PairHook = {
  name: 'parallax',
  second: 'r',
  hasGradOut: true,
  rows: ['lse', 'delta', 'level', 'mean'],
  pair: `
      let weight = select(plain * (level - probe), vec4f(), plain == vec4f());
      let fall = product - mean;
      let by_score = select(numbers.scale * (plain * (mean - delta) + weight * fall), vec4f(), plain == vec4f());
      let by_probe = select(-plain * fall, vec4f(), plain == vec4f());`,
};
const OF_SIDES: BackwardHook['gradients'] = {
  keys: [GRAD_V, { name: 'grad_k', extent: 'd', terms: [BY_SCORE, BY_PROBE] }],
  queries: [GRAD_Q, { name: 'grad_r', extent: 'd', terms: [BY_PROBE] }],
};

export function planParallaxBackward(call: ParallaxBackwardCall, workspace: Workspace): Steps<Plan> {
  const { r, level, mean, gradR } = call;
  return planAttentionBackward(call, workspace, {
    pairs: GRADIENTS,
    gradients: OF_SIDES,
    regions: { r, level, mean, grad_r: gradR },
    rows: {
      operands: { level: { access: 'read' }, mean: vectors },
      declare: 'var average = vec4f();',
      add: 'average += select(vec4f(), load4_mean(at_mean(batch, query, head, c)) * gradient, is_there);',
      store: `store_rows(at + 2, 1 + load_level(row));
  store_rows(at + 3, average.x + average.y + average.z + average.w);`,
    },
  });
}

export function* planParallax(call: ParallaxCall, workspace: Workspace): Steps<Plan> {
  const { q, r, k, v, out, lse, mean, level, mask, scale } = call;
  const extents = extentsOf(call);
  const { b, n, m, h, g, d, e } = extents;
  const plain = yield* planAttention({ q, k, v, out: mean, lse, scale, mask }, workspace);
  const score = scoreCode(undefined, extents, 'scores');
  const { kernel, cut } = tiltKernel(workspace, 2 * (d + e) * b * h * n * m, { d, e }, score.shader);
  const map = yield* tileMap(mask, extents, cut);
  const tilted = workspace.scratch([b, n, h, e]);
  const rows = b * n * h;
  const operations = 2 * (2 * d + e) * map.visited * cut.queries * cut.keys;
  const variant: AttentionVariant = { cut, score: score.shader, isModified: false };
  const careful = attentionDispatch(carefulKernel(variant), call, map, score, workspace, {
    operands: { r, level },
    operations,
  });
  return {
    dispatches: [
      ...plain.dispatches,
      {
        kernel,
        operands: { q, k, v, r, rows: lse, map: tilesOf(map, workspace), tilted, level },
        numbers: { b, n, h, repeat: h / g, d, e, scale, ...map.numbers },
        tasks: b * h * map.owners,
        operations,
      },
      {
        kernel: together,
        operands: { mean, tilted, level, out },
        numbers: { n, h, e, count: rows },
        tasks: Math.ceil(rows / INVOCATIONS),
        operations: 4 * rows * e,
      },
      { ...careful, usual: rows },
    ],
  };
}

/** The tilted values, and the level: by whole rows where attention's backward pass goes by them. */
function tiltKernel(
  { device }: Workspace,
  operations: number,
  extents: Readonly<Record<'d' | 'e', number>>,
  score: ScoreShader,
): Pick<GradientsKernel, 'kernel' | 'cut'> {
  const { attention } = sizesOf(device);
  const sizes = attention.find(({ below = Number.POSITIVE_INFINITY }) => operations < below) as AttentionSizes;
  if ('rows' in sizes) {
    const variant = { own: 'queries', gradients: [TILTED], hook: TILT, score } as const;
    return {
      kernel: rowsGradients({ ...variant, ...widthsOf(sizes, extents.d, extents.e) }),
      cut: rowsCutOf('queries'),
    };
  }
  const about = { isSoftware: device.isSoftware, isCrowded: false };
  return tiledGradients('queries', [TILTED], extents, score, about, TILT)[0] as GradientsKernel;
}

/** out = mean (1 + level) - tilted; the level of a row that is no number becomes NaN. */
const together: Kernel = {
  name: 'parallax, put together',
  invocations: INVOCATIONS,
  operands: {
    mean: vectors,
    tilted: vectors,
    level: { access: 'update' },
    out: { access: 'write', rank: 4, vector: true },
  },
  numbers: { n: 'u32', h: 'u32', e: 'u32', count: 'u32' },
  body: `
${functions('not_a_number')}
fn run(task: u32, lane: u32) {
  let row = task * ${INVOCATIONS} + lane;
  if (row >= numbers.count) { return; }
  let batch = row / (numbers.n * numbers.h);
  let query = row / numbers.h % numbers.n;
  let head = row % numbers.h;
  let level = load_level(row);
  var is_special = false;
  for (var c = 0u; c < numbers.e; c += 4) {
    let mean = load4_mean(at_mean(batch, query, head, c));
    let x = fma(mean, vec4f(level), mean - load4_tilted(at_tilted(batch, query, head, c)));
    let is_there = vec4u(c) + vec4u(0, 1, 2, 3) < vec4u(numbers.e);
    is_special |= any(((bitcast<vec4u>(x) & vec4u(0x7f800000)) == vec4u(0x7f800000)) & is_there);
    store4_out(at_out(batch, query, head, c), x, numbers.e - c);
  }
  if (is_special) { store_level(row, not_a_number()); }
}`,
};

const carefulKernel = variants(
  (variant: AttentionVariant): Kernel =>
    attentionKernel({
      name: 'parallax, with care',
      invocations: INVOCATIONS,
      variant,
      operands: {
        ...INPUTS,
        r: vectors,
        lse: { access: 'update', rank: 3 },
        level: { access: 'update', rank: 3 },
        out: { access: 'write', rank: 4, vector: true },
      },
      needs: ['precise_exp'],
      body: `
var<workgroup> marks: array<u32, TILE>;
var<workgroup> count: u32;
var<workgroup> levels: array<f32, ${INVOCATIONS}>;
${TENSORS.batches}
${TENSORS.text}
${carefulCode(false)}
/// The weight of a key, and its product with r.
fn pair_of(place: Place, query: u32, key: i32, lse: f32) -> vec2f {
  var score = 0.0;
  var product = 0.0;
  for (var c = 0u; c < numbers.d; c += 4) {
    let x = key_vector(place, 0, key, c);
    score += dot(kept(load4_q(at_q(place.batch, query, place.head, c)), numbers.d - c), x);
    product += dot(kept(load4_r(at_r(place.batch, query, place.head, c)), numbers.d - c), x);
  }
  let fall = score * numbers.scale - lse;
  if (special(fall) && !(fall < 0.0)) { return vec2f(not_a_number(), product); }
  return vec2f(select(precise_exp(fall), 0.0, fall < -87.0), product);
}

fn run(task: u32, lane: u32) {
  let place = place_of(task);
  let span = span_of(place.row, place.tile);
  if (span.others == 0) { return; }
  ${markNaN('load_level(at_level(place.batch, u32(query), place.head))')}
  for (var r = 0u; r < TILE; r++) {
    if (workgroupUniformLoad(&marks[r]) == 0) { continue; }
    let query = u32(query_at(place.tile * TILE + r));
    let lse = load_lse(at_lse(place.batch, query, place.head));
    var level = 0.0;
    var x = vec4f();
    for (var phase = 0u; phase < 2; phase++) {
      for (var i = span.first; i < span.past; i++) {
        let run = run_at(i);
        for (var at = 0u; at < (run.past - run.first) * PANEL; at += ${INVOCATIONS}u) {
          let key = seen_key(place, run, run.first, 1, r, at + lane);
          var pair = vec2f();
          if (key >= 0) { pair = pair_of(place, query, key, lse); }
          if (phase == 0) {
            if (key >= 0) { level += pair.x * pair.y; }
            continue;
          }
          workgroupBarrier();
          careful_weights[lane] = pair.x * (1.0 + level - pair.y);
          careful_keys[lane] = key;
          workgroupBarrier();
          if (4 * lane < numbers.e) {
            for (var other = 0u; other < ${INVOCATIONS}; other++) {
              let seen = careful_keys[other];
              if (seen >= 0) { x += careful_weights[other] * value_vector(place, 0, seen, 4 * lane); }
            }
          }
        }
      }
      if (phase == 0) {
        levels[lane] = level;
        workgroupBarrier();
        level = 0.0;
        for (var other = 0u; other < ${INVOCATIONS}; other++) { level += levels[other]; }
        workgroupBarrier();
      }
    }
    store_columns(place, query, 4 * lane, x);
    if (lane == 0) { store_level(at_level(place.batch, query, place.head), level); }
  }
}`,
    }),
);
