/** A browser that is measured, and the pages that contenders run in. */
import { access, readFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { UnsupportedError } from '../../errors';
import { describeMachine, type Machine } from '../../machine';
import type { RuntimeOptions } from '../../ops/create-runtime';
import { packageRoot } from '../peers';
import { IN_SOFTWARE } from '../report';
import { connectedChromium, headlessChromium, type PageOpener, visitingBrowser } from './browsers';
import type { PageFacts, QuestionName, Questions } from './protocol';
import { type PageServer, type Served, startServer } from './server';

export interface BrowserHost {
  readonly machine: Machine;
  /** What it computes with, one fact a line. */
  readonly facts: readonly string[];
  /** What a reader must know before comparing what it measured. */
  readonly notes: readonly string[];
  open(signal: AbortSignal): Promise<Page>;
  /** Closes the browser, or leaves it as it was, and frees the port. */
  close(): Promise<void>;
}

/** An open page. */
interface Page {
  /** Closes the page if the signal aborts first, since a computing page hears nothing else. */
  ask<Q extends QuestionName>(
    question: Q,
    ask: Questions[Q]['ask'],
    signal: AbortSignal,
  ): Promise<Questions[Q]['answer']>;
  close(): void;
}

interface Settings {
  /** Options of Saccade's wasm runtime in its pages; default: the runtime's choice. */
  readonly runtime?: RuntimeOptions;
  readonly signal: AbortSignal;
  /** Where the peers are installed, if they are wanted. */
  readonly peers?: string | undefined;
  /** How long the first page may take to connect and answer, in milliseconds. */
  readonly patience?: number;
  /** Gets what the user has to do. */
  say(line: string): void;
}

const ON_GPU = 'On WebGPU a call lasts until one number of its result has been read back, whoever computes it.';

/**
 * A headless Chromium if `where` is true, any browser that opens a page if it is `wait`, otherwise the one whose DevTools
 * are at this address.
 * @throws {UnsupportedError} if something is missing; the message says the remedy
 */
export async function openBrowser(
  where: true | string,
  { runtime = {}, signal, peers, patience = 60_000, say }: Settings,
): Promise<BrowserHost> {
  const server = await startServer(await whatIsServed(peers));
  let opener: PageOpener | undefined;
  const close = async () => {
    await opener?.close();
    await server.close();
  };
  try {
    opener = await (where === true
      ? headlessChromium(server)
      : where === 'wait'
        ? visitingBrowser(server, say, signal)
        : connectedChromium(where, server));
    const open = (signal: AbortSignal) => openPage(server, opener as PageOpener, signal);
    const timeout = AbortSignal.timeout(patience);
    const { machine, facts, softwareGpu } = await describe(open, runtime, AbortSignal.any([signal, timeout])).catch(
      (error) => {
        if (error !== timeout.reason) throw error;
        throw new UnsupportedError(
          `--browser: its first page did not answer in ${patience / 1000} s: it must be a current browser in which frame-1.localhost is this machine`,
        );
      },
    );
    return {
      // This process knows more about the machine than a browser.
      machine: { ...(where === true ? await describeMachine() : machine), runtime: opener.name },
      facts,
      notes: [...(softwareGpu === true ? [IN_SOFTWARE] : []), ...(softwareGpu === undefined ? [] : [ON_GPU])],
      open,
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

async function describe(open: BrowserHost['open'], runtime: RuntimeOptions, signal: AbortSignal): Promise<PageFacts> {
  const page = await open(signal);
  try {
    return await page.ask('describe', runtime, signal);
  } finally {
    page.close();
  }
}

/** The packages that a page's scripts import. */
const IMPORTED = ['acorn', 'valibot'];

/** The built library, the packages it imports, and the peers. */
export async function whatIsServed(peers: string | undefined): Promise<Served> {
  const saccade = join(packageRoot(), 'dist');
  await access(join(saccade, 'bench/browser/page.mjs')).catch(() => {
    throw new UnsupportedError('--browser needs the built library: npm run build');
  });
  const imports = peers === undefined ? {} : JSON.parse(await readFile(join(peers, 'imports.json'), 'utf8'));
  const packages = IMPORTED.map((name) => {
    const file = fileURLToPath(import.meta.resolve(name));
    return { name, file, folder: name.replaceAll(/\W+/g, '-') };
  });
  return {
    folders: {
      saccade,
      ...Object.fromEntries(packages.map(({ folder, file }) => [folder, dirname(file)])),
      ...(peers !== undefined && { peers }),
    },
    imports: {
      ...Object.fromEntries(packages.map(({ name, folder, file }) => [name, `/${folder}/${basename(file)}`])),
      ...imports,
    },
  };
}

async function openPage(server: PageServer, opener: PageOpener, signal: AbortSignal): Promise<Page> {
  const channel = server.channel();
  const opened = opener.open(channel);
  const close = () => {
    channel.end('its page was closed');
    // What cannot be closed is already gone.
    opened.then((close) => close()).catch(() => {});
  };
  const page: Page = {
    async ask(question, ask, signal) {
      try {
        return await channel.ask(question, ask, signal);
      } catch (error) {
        if (signal.aborted) close();
        throw error;
      }
    },
    close,
  };
  await Promise.race([opened, aborted(signal)]).catch((error) => {
    close();
    throw error;
  });
  return page;
}

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    const abort = () => reject(signal.reason);
    if (signal.aborted) abort();
    else signal.addEventListener('abort', abort, { once: true });
  });
}
