/**
 * NAtS-L (Neural Attention Search Linear): each chunk of tokens, for each head, goes either to softmax attention, which
 * keeps its keys and values, or to the gated delta rule, which writes them into its state. Every query reads both.
 * Source: Deng et al. 2026, arXiv 2602.03681; the definition is that of its code.
 */
import type { HostTensor } from '../../../tensor/host';
import { defineMethod } from '../../define';
import { NatsLinearCache } from './cache';
import { forward } from './forward';
import { layer } from './layer';
import { params } from './params';
import { INPUTS, OPTIONAL, problemOf } from './problem';
import { reference } from './reference';

export const natsLinear = defineMethod({
  name: 'nats-linear',
  short: 'NAtS-L',
  family: 'linear',
  summary: 'chunks of tokens go to softmax attention or into the state of a delta rule; every query reads both',
  paper: '2602.03681',
  inputs: INPUTS,
  optional: OPTIONAL,
  outputs: { out: 'b n h e', softmax: 'b n h e', delta: 'b n h e', lse: 'b n a' },
  params,
  isCausal: () => true,
  reference(inputs, settings, gradOut) {
    const given = Object.entries<HostTensor | undefined>(inputs).flatMap(([name, x]) => (x ? [[name, x.shape]] : []));
    problemOf(Object.fromEntries(given), settings.chunk);
    return reference(inputs, settings, gradOut);
  },
  forward,
  layer,
  continuation: (params) => ({ from: 'own', open: (place) => NatsLinearCache.open(place, params) }),

  /** With every other chunk in softmax attention: the true number is the route's. */
  cost({ b, n, h, d, e, a }, { chunk }) {
    const chunks = Math.ceil(n / chunk);
    const shapes = { q: [b, n, h, d], k: [b, n, h, d], v: [b, n, h, e], g: [b, n, h], beta: [b, n, h] };
    const problem = problemOf({ ...shapes, route: [b, chunks, h, 2], mix: [b, n, a, 2] }, chunk);
    // Each token sees every other chunk before its own, and its own up to itself.
    let pairs = 0;
    for (let at = 0; at < chunks; at++) {
      const tokens = Math.min(chunk, n - at * chunk);
      pairs += b * a * (tokens * Math.floor(at / 2) * chunk + (tokens * (tokens + 1)) / 2);
    }
    const attended = 2 * (problem.p + problem.r) * pairs;
    // Decay, read, error, write and output of a token.
    const recurrent = b * n * h * (7 * d * e + 3 * e);
    return {
      flops: attended + recurrent + 3 * b * n * h * e,
      bytes: 4 * b * (n * h * (2 * d + 4 * e + 2) + 2 * chunks * h + 3 * n * a),
      state: 4 * b * h * d * e,
    };
  },

  /** None: it takes more than q, k and v, so `compare` leaves it out. */
  variants: () => [],
  page: () => import('./page'),
});
