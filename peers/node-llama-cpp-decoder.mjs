/** llama.cpp as native code: prompts and steps of a decoder from a GGUF file. */
import { getLlama, LlamaLogLevel } from 'node-llama-cpp';

export async function open({ threads }) {
  const llama = await getLlama({
    gpu: false,
    build: 'never',
    skipDownload: true,
    maxThreads: threads,
    logLevel: LlamaLogLevel.error,
  });
  return { threads, prepare: (problem) => prepare(llama, threads, problem) };
}

async function prepare(llama, threads, { file, kind, n, rows, checked, config, tokens: all }) {
  const tokens = Array.from(all);
  const model = await llama.loadModel({ modelPath: file, gpuLayers: 0 });
  const context = await model.createContext({
    contextSize: Math.max(n, checked) + 8,
    batchSize: 512 * rows,
    sequences: rows,
    threads,
    flashAttention: true,
  });
  const sequences = Array.from({ length: rows }, () => context.getSequence());
  /** Reads tokens of a sequence from one place to another; asked for, the probabilities of the next token. */
  const advance = async (sequence, from, to, asksProbabilities = false) => {
    const input = tokens.slice(from, to);
    const last = [input.pop(), { generateNext: asksProbabilities ? { probabilities: true } : { token: true } }];
    const results = await sequence.controlledEvaluate([...input, last]);
    return results.at(-1)?.next.probabilities;
  };
  const back = (sequence, to) => sequence.eraseContextTokenRanges([{ start: to, end: sequence.nextTokenIndex }]);
  const found = [];
  for (const [from, to] of [
    [0, checked],
    [checked, checked + 1],
  ]) {
    const numbers = new Float32Array(config.vocab_size).fill(-Infinity);
    for (const [token, p] of await advance(sequences[0], from, to, true)) numbers[token] = Math.log(p);
    found.push(numbers);
  }
  await back(sequences[0], 0);
  if (kind === 'step' && n > 0) for (const sequence of sequences) await advance(sequence, 0, n);
  return {
    async run() {
      const [from, to] = kind === 'prompt' ? [0, n] : [n, n + 1];
      await Promise.all(sequences.map((sequence) => advance(sequence, from, to)));
      for (const sequence of sequences) await back(sequence, from);
    },
    result: async () => Float32Array.from(found.flatMap((numbers) => [...numbers])),
  };
}
