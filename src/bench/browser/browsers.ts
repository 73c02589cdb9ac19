/** The browsers in which pages can be opened: one that is started, one that is already running, and the user's own. */
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import type { Browser, BrowserContext, LaunchOptions } from 'playwright-core';
import { UnsupportedError } from '../../errors';
import type { Channel } from './channel';
import type { PageServer } from './server';

export interface PageOpener {
  /** What it is, such as 'Chromium 150.0.7871.181, headless'. */
  readonly name: string;
  /** Opens the page of a channel, and ends the channel if the page ends by itself; resolves to a function that closes it. */
  open(channel: Channel): Promise<() => Promise<void>>;
  close(): Promise<void>;
}

/** Enables WebGPU where it is not the default yet: on the machine's GPU if its driver supports Vulkan, otherwise in software. */
const FLAGS = ['--enable-unsafe-webgpu', '--enable-features=Vulkan'];
const NAMES = ['chromium', 'chromium-browser', 'google-chrome-stable', 'google-chrome'];

/**
 * The machine's own Chromium, headless. Each page has its own browser process, since pages share its GPU process:
 * work that one leaves there would slow down the next, and all lose their devices if that process ends.
 * @throws {UnsupportedError} if playwright-core or Chromium is missing
 */
export async function headlessChromium({ port }: PageServer): Promise<PageOpener> {
  const { chromium } = await playwright();
  const options: LaunchOptions = { args: FLAGS, handleSIGINT: false, ...executable() };
  const running = new Set<Browser>();
  const start = async () => {
    const browser = await chromium.launch(options).catch((error: Error) => {
      throw new UnsupportedError(
        `no Chromium could be started (${firstLine(error)}): install chromium or Chrome, or say where it is in CHROMIUM`,
      );
    });
    running.add(browser);
    browser.once('disconnected', () => running.delete(browser));
    return browser;
  };
  const first = await start();
  const name = `Chromium ${first.version()}, headless`;
  await first.close();
  return {
    name,
    async open(channel) {
      const browser = await start();
      return openIn(browser, () => browser.newContext(), channel, port);
    },
    async close() {
      await Promise.all([...running].map((browser) => browser.close()));
    },
  };
}

/**
 * A Chromium that is already running, by the address of its DevTools. Each page has its own context.
 * @throws {UnsupportedError} if playwright-core is missing or nothing answers
 */
export async function connectedChromium(address: string, { port }: PageServer): Promise<PageOpener> {
  const { chromium } = await playwright();
  const browser = await chromium.connectOverCDP(address, { timeout: 10_000 }).catch((error: Error) => {
    throw new UnsupportedError(
      `--browser: no browser answers at ${address} (${firstLine(error)}): start one with --remote-debugging-port and give its address`,
    );
  });
  return {
    name: `Chromium ${browser.version()} at ${address}`,
    async open(channel) {
      const context = await browser.newContext();
      return openIn(context, async () => context, channel, port);
    },
    close: () => browser.close(),
  };
}

/** Any browser that the user opens at the address passed to `say`; pages are frames, each from its own site. */
export async function visitingBrowser(
  server: PageServer,
  say: (line: string) => void,
  signal: AbortSignal,
): Promise<PageOpener> {
  const front = server.channel('front');
  say(`open http://localhost:${server.port} in the browser to be measured, and keep it in sight`);
  const { machine } = await front.ask('describe', {}, signal);
  let frames = 0;
  return {
    name: machine.runtime,
    async open(channel) {
      const id = `frame-${++frames}`;
      await front.ask('show', { id, path: channel.path }, signal);
      return () => front.ask('hide', { id }, signal);
    },
    close: async () => front.end('the benchmark is over'),
  };
}

async function playwright(): Promise<typeof import('playwright-core')> {
  try {
    return await import('playwright-core');
  } catch {
    throw new UnsupportedError(
      '--browser needs the package playwright-core, which drives Chromium: npm install playwright-core; or measure your own browser with --browser wait',
    );
  }
}

/** The one that CHROMIUM names or that is on the PATH, else Chrome where its installer puts it. */
function executable(): LaunchOptions {
  const folders = process.env.PATH?.split(delimiter) ?? [];
  const found = NAMES.flatMap((name) => folders.map((folder) => join(folder, name))).find(isExecutable);
  const executablePath = process.env.CHROMIUM ?? found;
  return executablePath === undefined ? { channel: 'chrome' } : { executablePath };
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** Opens the channel's page; what is to be closed with it is closed at once if that fails. */
async function openIn(
  owner: { close(): Promise<void> },
  makeContext: () => Promise<BrowserContext>,
  channel: Channel,
  port: number,
): Promise<() => Promise<void>> {
  try {
    const page = await (await makeContext()).newPage();
    page.once('crash', () => channel.end('its page crashed, as pages do that run out of memory'));
    page.once('close', () => channel.end('its page was closed'));
    await page.goto(`http://127.0.0.1:${port}${channel.path}`);
  } catch (error) {
    await owner.close();
    throw error;
  }
  return () => owner.close();
}

function firstLine({ message }: Error): string {
  return message.split('\n')[0] as string;
}
