/**
 * Parallax's forward pass on a GPU: attention's first, whose log-sum-exps give the weights again; then one kernel over the same
 * pairs for the tilted values and the level, and one that puts them together. Rows that came out as no number are done
 * again, so that what a query does not see has no part in it: an infinite value may give NaN where the definition has infinity.
 */
import type { Steps } from '../../runtime/turns';
import { type Kernel, variants } from '../../runtime/webgpu/kernel';
import { functions } from '../../runtime/webgpu/kernels/functions';
import type { Plan, Workspace } from '../../runtime/webgpu/plan';
import { tilesOf } from '../attention/block-map/tiles';
import type { AttentionCall, Probe } from '../attention/call';
import { rowsGradients } from '../attention/webgpu/backward';
import { rowsCutOf } from '../attention/webgpu/backward-rows';
import { type GradientsKernel, tiledGradients } from '../attention/webgpu/backward-tiled';
import { carefulCode, INVOCATIONS, markNaN } from '../attention/webgpu/careful';
import { type AttentionVariant, attentionDispatch, attentionKernel, INPUTS } from '../attention/webgpu/common';
import { planAttention, widthsOf } from '../attention/webgpu/forward';
import { type ScoreShader, scoreCode } from '../attention/webgpu/score';
import { type AttentionSizes, sizesOf } from '../attention/webgpu/sizes';
import { TENSORS } from '../attention/webgpu/sources';
import { tileMap } from '../attention/webgpu/tile-map';

export function* planParallax(call: AttentionCall, workspace: Workspace): Steps<Plan> {
  const { q, k, v, out, lse, mask, scale } = call;
  const { r, mean, level } = call.probe as Required<Probe> & Pick<AttentionCall, 'q'>;
  const [b, n, h, d] = q.shape as [number, number, number, number];
  const [, m, g, e] = v.shape as [number, number, number, number];
  const extent = { b, n, m, h, g };
  const plain = yield* planAttention({ q, k, v, out: mean as typeof out, lse, scale, mask }, workspace);
  const score = scoreCode(undefined, extent, 'scores');
  const { kernel, cut } = tiltKernel(workspace, 2 * (d + e) * b * h * n * m, { d, e }, score.shader);
  const map = yield* tileMap(mask, extent, cut);
  const tilted = workspace.scratch([b, n, h, e]);
  const tasks = b * h * map.owners;
  const operations = 2 * (2 * d + e) * map.visited * cut.queries * cut.keys;
  const variant: AttentionVariant = { cut, score: score.shader, isModified: false };
  const careful = attentionDispatch(carefulKernel(variant), call, map, score, workspace, {
    operands: { r, level: level as typeof lse },
    operations,
  });
  return {
    dispatches: [
      ...plain.dispatches,
      {
        kernel,
        operands: { q, k, v, r, rows: lse, map: tilesOf(map, workspace), tilted, level: level as typeof lse },
        numbers: { b, n, h, repeat: h / g, d, e, scale, ...map.numbers },
        ...{ tasks, operations },
      },
      {
        kernel: together,
        operands: { mean: mean as typeof out, tilted, level: level as typeof lse, out },
        numbers: { n, h, e, count: b * n * h },
        tasks: Math.ceil((b * n * h) / INVOCATIONS),
        operations: 4 * b * n * h * e,
      },
      { ...careful, usual: b * n * h },
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
    const kernel = rowsGradients({ own: 'queries', tilt: 'forward', score, ...widthsOf(sizes, extents.d, extents.e) });
    return { kernel, cut: rowsCutOf('queries') };
  }
  const about = { isSoftware: device.isSoftware, isCrowded: false };
  return tiledGradients('queries', ['tilted'], extents, score, about, 'forward')[0] as GradientsKernel;
}

/** out = mean (1 + level) - tilted; the level of a row that is no number becomes NaN. */
const together: Kernel = {
  name: 'parallax, put together',
  invocations: INVOCATIONS,
  operands: {
    mean: { access: 'read', rank: 4, vector: true },
    tilted: { access: 'read', rank: 4, vector: true },
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
        r: { access: 'read', rank: 4, vector: true },
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
