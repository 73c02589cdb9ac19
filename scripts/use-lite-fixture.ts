/**
 * Writes the oracle's embeddings of 100 sentences of Moby Dick, for which TensorFlow.js takes half a minute:
 * node scripts/use-lite-fixture.ts
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { createTokeniser } from '../src/models/universal-sentence-encoder/tokeniser.ts';
import { sentencesOfMobyDick } from '../test/moby-dick.ts';
import { loadOracle, MODEL_FOLDER } from '../test/use-lite-oracle.ts';

const oracle = await loadOracle();
const tokenise = createTokeniser(JSON.parse(readFileSync(`${MODEL_FOLDER}/vocab.json`, 'utf8')));
const sentences = sentencesOfMobyDick(100);
const embeddings = new Float32Array(sentences.length * 512);
for (const [i, sentence] of sentences.entries()) {
  const [embedding] = await oracle(tokenise(sentence));
  embeddings.set(embedding as Float32Array, i * 512);
}

const entry = { dtype: 'F32', shape: [sentences.length, 512], data_offsets: [0, embeddings.byteLength] };
const header = JSON.stringify({ embeddings: entry }).padEnd(120);
const length = new BigUint64Array([BigInt(header.length)]);
const file = new URL('../test/fixtures/use-lite-embeddings.safetensors', import.meta.url);
writeFileSync(file, Buffer.concat([Buffer.from(length.buffer), Buffer.from(header), Buffer.from(embeddings.buffer)]));
