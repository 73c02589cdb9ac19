/** The site: pages made from registry, READMEs and stored runs, their scripts, and a service worker that keeps them all. */
import { createHash } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { relative, resolve } from 'node:path';
import type { InlineConfig, Plugin } from 'vite';
import { ENCODER_BYTES, meanings } from './build/meanings';
import { feed, pages } from './build/pages';
import { openings } from './build/published';
import { sprite } from './build/sprite';
import { ROOT } from './build/standing';

const root = resolve(ROOT, 'atlas');
const made = new Map([...pages()].map(([path, text]) => [resolve(root, path), text]));
const SPRITE = resolve(root, 'site/glyphs.generated.png');
mkdirSync(resolve(root, 'site'), { recursive: true });
writeFileSync(SPRITE, sprite());
writeFileSync(resolve(root, 'site/meanings.generated.json'), await meanings());
mkdirSync(resolve(root, 'site/published'), { recursive: true });
for (const [name, { stored }] of openings)
  writeFileSync(resolve(root, `site/published/${name}.generated.json`), JSON.stringify(stored));

/** What a page isolated from others needs, and so threads. */
const headers = { 'Cross-Origin-Opener-Policy': 'same-origin', 'Cross-Origin-Embedder-Policy': 'require-corp' };

/** Pages that are not files. */
const generated: Plugin = {
  name: 'atlas-pages',
  enforce: 'pre',
  resolveId: (id) => (made.has(id) ? id : undefined),
  load: (id) => made.get(id),
  transform: {
    filter: { id: /katex\.css/ },
    // Every browser that runs the site reads woff2.
    handler: (code) => code.replace(/,\s*url\([^)]*\.woff\) format\([^)]*\),\s*url\([^)]*\.ttf\) format\([^)]*\)/g, ''),
  },
};

/** The package says that its modules do nothing by themselves; examples do. */
const examples: Plugin = {
  name: 'atlas-examples',
  transform: { filter: { id: /\/examples\/[^/]*$/ }, handler: (code) => ({ code, moduleSideEffects: true }) },
};

/** Files of models lie apart, since only those who use a model fetch them. */
const MODELS = 'models/';
const OF_MODELS = /\/model-|\/default-model\/|\/trained\//;

/** The feed, and in the service worker the files that it keeps. */
const kept: Plugin = {
  name: 'atlas-kept-files',
  enforce: 'post',
  generateBundle(_, bundle) {
    this.emitFile({ type: 'asset', fileName: 'feed.xml', source: feed() });
    const worker = bundle['service-worker.js'];
    if (worker?.type !== 'chunk') throw new Error('the service worker was not built');
    const isKept = (name: string) =>
      name !== 'service-worker.js' && (!name.startsWith(MODELS) || name.endsWith('.html'));
    const files = [...Object.keys(bundle).filter(isKept), 'feed.xml'].sort();
    const hash = createHash('sha256');
    for (const name of files) {
      const file = bundle[name];
      hash.update(name).update(file ? (file.type === 'chunk' ? file.code : file.source) : feed());
    }
    const constants = `const FILES=${JSON.stringify(files)};const VERSION=${JSON.stringify(hash.digest('hex').slice(0, 12))};`;
    worker.code = constants + worker.code;
  },
};

export default {
  configFile: false,
  root,
  base: './',
  logLevel: 'warn',
  plugins: [generated, kept],
  // Examples import the library as its users do.
  resolve: {
    alias: [
      { find: /^saccade$/, replacement: resolve(ROOT, 'src/index.ts') },
      { find: /^saccade\/(.*)$/, replacement: resolve(ROOT, 'src/$1/index.ts') },
    ],
  },
  define: { ENCODER_BYTES },
  worker: {
    format: 'es',
    plugins: () => [examples],
    rolldownOptions: {
      output: {
        assetFileNames: ({ originalFileNames }) =>
          `${originalFileNames.some((name) => OF_MODELS.test(name)) ? MODELS : 'assets/'}[name]-[hash][extname]`,
      },
    },
  },
  server: { headers },
  preview: { headers, port: 4317 },
  build: {
    outDir: resolve(root, 'dist'),
    emptyOutDir: true,
    target: 'es2023',
    chunkSizeWarningLimit: 2000,
    rolldownOptions: {
      input: {
        ...Object.fromEntries(
          [...made.keys()].map((path) => [
            relative(root, path).replace('/index.html', '').replaceAll(/[/.]/g, '-'),
            path,
          ]),
        ),
        'service-worker': resolve(root, 'site/service-worker.ts'),
      },
      output: {
        entryFileNames: ({ name }) => (name === 'service-worker' ? 'service-worker.js' : 'assets/[name]-[hash].js'),
      },
      checks: { pluginTimings: false },
    },
  },
} satisfies InlineConfig;
