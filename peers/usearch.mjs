/** usearch: an HNSW graph of keys by inner products, in native code; the first run builds it, later ones search for all queries. */
import usearch from 'usearch';

export async function open({ threads }) {
  return { threads, prepare: (given) => prepare(given, threads) };
}

function prepare({ k, q, d, topK, expansion }, threads) {
  const places = BigUint64Array.from({ length: k.length / d }, (_, at) => BigInt(at));
  let index;
  let found;
  return {
    products: 1,
    async run() {
      if (index) {
        // One query at a time, as a step has no more.
        found = [];
        for (let at = 0; at < q.length; at += d) found.push(index.search(q.subarray(at, at + d), topK, 1).keys);
        return;
      }
      index = new usearch.Index({
        metric: 'ip',
        dimensions: d,
        quantization: 'f32',
        connectivity: 16,
        expansion_add: 128,
        expansion_search: expansion,
      });
      index.add(places, k, threads);
    },
    result: async () => Float32Array.from(found.flatMap((keys) => [...keys].map(Number))),
  };
}
