/**
 * RetrievalAttention: a step of decoding attends to the first and the last tokens, and to the few others that have the largest
 * scores, which an index over the keys finds. Exact but for the tokens that are left out.
 * Sources: Liu et al. 2024, arXiv 2409.10516 (abstract), and its released code for the window; the graph follows RoarGraph,
 * Chen et al. 2024, arXiv 2408.08933, by third parties' notes.
 */
import * as valibot from 'valibot';
import { checkFloat32 } from '../../../ops/float32';
import { keyIndex, retrievedAttention } from '../../../ops/retrieval';
import type { Tensor } from '../../../tensor/tensor';
import { defineMethod } from '../../define';
import { choice, flag, scale, whole } from '../../schema';
import { attendByRetrieval, RetrievalMemory } from './memory';
import { type RetrievalInputs, reference } from './reference';

export const retrievalAttention = defineMethod({
  name: 'retrieval-attention',
  short: 'Retrieval',
  family: 'sparse',
  summary: 'exact attention to the first and last tokens and to the few others that an index of the keys finds',
  paper: '2409.10516',
  inputs: { q: 'b n h d', k: 'b m g d', v: 'b m g e' },
  optional: { queries: 'b p h d' },
  outputs: { out: 'b n h e', lse: 'b n h', scanned: 'b h n' },
  gradient: false,
  params: valibot.strictObject({
    topK: whole('keys that are retrieved', { least: 1, preset: 100 }),
    first: whole('first tokens, which are seen by all', { least: 0, preset: 128 }),
    recent: whole('last tokens, which are seen too', { least: 0, preset: 512 }),
    index: choice(['flat', 'graph', 'ivf'], 'how keys are found: by a look at all, in a graph, or in cells', 'flat'),
    degree: whole('edges of a key in the graph, at most', { least: 1, most: 256, preset: 32 }),
    neighbors: whole('keys of each query of the prompt that make the graph', { least: 1, most: 256, preset: 100 }),
    beam: whole('keys that a search of the graph goes on from', { least: 1, most: 2 ** 16, preset: 128 }),
    cells: whole('cells of ivf; else the square root of the keys', { least: 1 }),
    probes: whole('cells that are looked through; else a tenth', { least: 1 }),
    causal: flag('a query sees no key after its own position, and retrieves among those by a look at all', false),
    scale,
  }),
  isCausal: ({ causal }) => causal,

  reference,

  forward({ q, k, v, queries }: RetrievalInputs<Tensor>, params, control = {}) {
    checkFloat32(retrievalAttention.name, { q, k, v, ...(queries && { queries }) }, {});
    const { index: kind, topK, first, recent, degree, neighbors, cells, beam, probes, causal, scale } = params;
    return q.runtime.scope(() => {
      const settings = { first, recent, degree, neighbors, cells, queries };
      const index = kind === 'flat' || causal ? undefined : keyIndex(k, { kind, ...settings, ...control });
      try {
        return retrievedAttention(q, k, v, { topK, first, recent, index, beam, probes, causal, scale, ...control });
      } finally {
        index?.dispose();
      }
    });
  },

  exactUpTo: ({ first, recent, topK }) => first + recent + topK,

  /** What building an index costs is not that of a step. A search of a graph scores at most the edges of its beam. */
  cost({ b, n, m, h, g, d, e }, { topK, first, recent, causal, index, beam, degree, cells, probes }) {
    const all = Math.max(1, cells ?? Math.round(Math.sqrt(Math.max(0, m - first - recent))));
    const looked = probes ?? Math.max(1, Math.floor(all / 10));
    const scoredOf = (old: number) => {
      if (index === 'flat' || causal || old <= topK) return old;
      return Math.min(old, index === 'graph' ? beam * degree : Math.ceil((old * looked) / all));
    };
    let [scored, seen] = [0, 0];
    for (let i = 0; i < n; i++) {
      const last = causal ? Math.max(0, m - n + i + 1) : m;
      const old = Math.max(0, last - first - recent);
      scored += scoredOf(old);
      seen += last - Math.max(0, old - topK);
    }
    const looks = n * m;
    return {
      flops: b * h * (2 * d * scored + 2 * (d + e) * seen),
      bytes: 4 * b * (n * h * (d + e + 2) + m * g * (d + e)),
      state: 0,
      visited: seen / looks,
      read: Math.min(1, (d * Math.max(scored, seen) + e * seen) / (looks * (d + e))),
    };
  },

  continuation: (params) => ({
    from: 'keys',
    memory: () => new RetrievalMemory(params),
    attend: (inputs, keys, options, memory) =>
      attendByRetrieval(inputs.q as Tensor, keys, options, memory as RetrievalMemory, params),
  }),

  variants({ m }) {
    const part = (share: number) => Math.max(1, Math.round(m / share));
    const usual = [32, 8].map((share) => ({
      topK: part(share),
      first: Math.min(4, part(64)),
      recent: part(2 * share),
    }));
    return [...usual, ...usual.map((params) => ({ ...params, causal: true }))];
  },
  page: () => import('./page'),
});
