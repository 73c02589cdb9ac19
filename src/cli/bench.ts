import { Command, InvalidArgumentError, Option } from 'commander';
import { builds, formatAgainst, runAgainst } from '../bench/against';
import { openBrowser } from '../bench/browser/host';
import { PAGE_PEER_NAMES } from '../bench/browser/rows';
import { DECODER_SHAPES, WEIGHT_TYPES } from '../bench/decoder-file';
import { BENCH_BACKENDS, BENCH_MASKS, type BenchOptions } from '../bench/options';
import { installPeers, PEER_NAMES, peersSource } from '../bench/peers';
import { PYTORCH_NAMES } from '../bench/pytorch';
import { type BenchReport, formatProblem } from '../bench/report';
import { checkOptions, runSuite } from '../bench/run';
import { runtimeOptions } from '../bench/runtimes';
import { DEFAULT_OPTIONS, type Suite } from '../bench/suite';
import { suites } from '../bench/suites';
import { formatReport } from '../bench/table';
import { ParameterError, UnsupportedError } from '../errors';
import { htmlPage } from '../report/page';
import { formatTable } from '../text/table';
import { LINKS, linksCommand } from './bench-links';
import { LONG_CONTEXT, longContextCommand } from './bench-long-context';
import { LONGCA, longCaCommand } from './bench-longca';
import { QUALITY, qualityCommand } from './bench-quality';
import { failIfAny, WITH_FAILURES } from './failures';
import { jsonOption, wholeNumber } from './options';
import { withProgress } from './progress';
import { checkWritable, isStream, say, writeFileAtomic, writeJson } from './write-file';

/** Options of every suite's command. */
interface Extras {
  readonly json?: string | undefined;
  readonly html?: string | undefined;
  readonly against?: string | undefined;
}

type Act = (suite: Suite, options: BenchOptions, extras: Extras) => Promise<void>;

/** `saccade bench SUITE`; `act` is what a suite's command does with its options. */
export function benchCommand(act: Act = bench): Command {
  const known = [...suites, QUALITY, LONG_CONTEXT, LONGCA, LINKS];
  const command = new Command('bench')
    .argument('[suite]')
    .hook('preSubcommand', (parent, child) => {
      child.copyInheritedSettings(parent);
    })
    .addHelpText('after', '\nExample:\n  $ saccade bench attention --peers --n 1024 --masks causal --html bench.html')
    .addHelpText('afterAll', WITH_FAILURES)
    .action((name: string | undefined) => {
      if (name !== undefined) {
        throw new ParameterError(`suite must be one of ${known.map((suite) => suite.name).join(', ')}, got '${name}'`);
      }
      const rows = known.map((suite) => [suite.name, suite.summary]);
      process.stdout.write(`${formatTable(['suite', 'what it answers'], rows)}\n`);
    });
  for (const suite of suites) command.addCommand(suiteCommand(suite, act).copyInheritedSettings(command));
  command.addCommand(qualityCommand().copyInheritedSettings(command));
  command.addCommand(longContextCommand().copyInheritedSettings(command));
  command.addCommand(longCaCommand().copyInheritedSettings(command));
  command.addCommand(linksCommand().copyInheritedSettings(command));
  return command;
}

/** The command of one suite. */
export function suiteCommand(suite: Suite, act: Act): Command {
  const command = new Command(suite.name).description(suite.summary);
  for (const option of optionsOf(suite)) command.addOption(option);
  return command
    .addOption(jsonOption('everything measured'))
    .option('--html <file>', 'write a page of its own')
    .option('--against <folder>', 'compare the times with those of another checkout, built, in turns with it')
    .action(({ json, html, against, ...given }: Partial<BenchOptions> & Extras) =>
      act(suite, { ...DEFAULT_OPTIONS, ...suite.defaults, ...given }, { json, html, against }),
    );
}

async function bench(suite: Suite, options: BenchOptions, extras: Extras): Promise<void> {
  // Over the progress bar, if there is one.
  const tell = (line: string) => process.stderr.write(`${process.stderr.isTTY ? '\r\x1b[K' : ''}${line}\n`);
  checkOptions(suite, options);
  const { json, html, against } = extras;
  for (const path of [json, html]) if (path !== undefined) await checkWritable(path);
  if (against !== undefined) return benchAgainst(suite, options, { json, html, against });
  const peers = await findPeers(options, tell);
  let latest = undefined as BenchReport | undefined;
  const keep = async (report: BenchReport) => {
    latest = report;
    await writeReport(report, extras, false);
  };
  try {
    await withProgress(`bench ${suite.name}`, async (control) => {
      const runtime = runtimeOptions(options);
      const browser = options.browser
        ? await openBrowser(options.browser, { runtime, peers, say: tell, ...control })
        : undefined;
      try {
        await keep(await runSuite(suite, options, { peers, browser, ...control, onReport: keep }));
      } finally {
        await browser?.close();
      }
    });
  } finally {
    // What was measured before an interrupt or a failure is shown too.
    if (latest) {
      await writeReport(latest, extras, true);
      await say(formatReport(latest), json, html);
    }
  }
  const { rows } = latest as BenchReport;
  // The caller chooses how long to wait: what takes longer has not failed.
  const failed = rows.filter(({ status }) => status === 'wrong' || status === 'failed');
  failIfAny(
    failed.map(({ label, ...row }) => `${label} (${formatProblem(row)})`),
    rows.length,
    'rows',
  );
}

async function benchAgainst(
  suite: Suite,
  options: BenchOptions,
  { json, html, against }: Extras & { readonly against: string },
): Promise<void> {
  const other = { '--html': html !== undefined, '--peers': options.peers, '--browser': options.browser !== false };
  for (const [option, isGiven] of Object.entries(other))
    if (isGiven) throw new UnsupportedError(`--against compares two builds of Saccade alone: leave ${option} out`);
  const report = await withProgress(`bench ${suite.name} against ${against}`, (control) =>
    runAgainst(suite, { against, builds: builds(suite, options, { against, signal: control.signal }), ...control }),
  );
  await writeJson(json, report);
  await say(formatAgainst(report), json);
}

/** The folder of the peers, if any are wanted; installs those from npm if some of them are. */
async function findPeers(
  { peers, only, browser, backend }: BenchOptions,
  say: (line: string) => void,
): Promise<string | undefined> {
  const names = (known: readonly string[]) => only.some((name) => known.includes(name));
  if (backend === 'wasm' && (peers || names(browser ? PAGE_PEER_NAMES : PEER_NAMES))) return installPeers(say);
  return peers || names(PYTORCH_NAMES) ? peersSource() : undefined;
}

/** Writes to files, which each report replaces, or to streams, which are written once. */
async function writeReport(report: BenchReport, { json, html }: Extras, toStreams: boolean): Promise<void> {
  const isMeant = async (path: string | undefined) => path !== undefined && (await isStream(path)) === toStreams;
  if (await isMeant(json)) await writeFileAtomic(json as string, `${JSON.stringify(report, undefined, 2)}\n`);
  if (await isMeant(html)) {
    const page = htmlPage({ title: `saccade bench ${report.suite}`, view: 'bench', data: report });
    await writeFileAtomic(html as string, page);
  }
}

/** The options that a suite takes: those it has defaults for. */
function optionsOf(suite: Suite): Option[] {
  const { defaults } = suite;
  const count = wholeNumber(1, 2 ** 20);
  const all: Record<keyof BenchOptions, Option> = {
    n: new Option('--n <lengths>', 'sequence lengths, such as 1024,4096').argParser(listOf(count)),
    d: new Option('--d <dimensions>', 'head dimensions').argParser(listOf(wholeNumber(1, 256))),
    masks: new Option('--masks <names>', `of ${BENCH_MASKS.join(', ')}; window is causal, 256 keys`).argParser(
      listOf(choice(BENCH_MASKS)),
    ),
    cached: new Option('--cached <lengths>', 'tokens before a step').argParser(listOf(wholeNumber(0, 2 ** 20))),
    shape: new Option('--shape <name>', 'the shape of the decoder').choices(Object.keys(DECODER_SHAPES)),
    types: new Option('--types <names>', 'types of the weights').argParser(listOf(choice(WEIGHT_TYPES))),
    quick: new Option('--quick', 'prompts of 128 and steps after 0 and 1024 tokens only'),
    budget: new Option('--budget <seconds>', 'begin no further rows after so long').argParser(wholeNumber(1, 86_400)),
    heads: new Option('--heads <count>', 'heads').argParser(wholeNumber(1, 1024)),
    backend: new Option(
      '--backend <name>',
      "where Saccade computes: webgpu is this machine's GPU, with rows of its own",
    ).choices(BENCH_BACKENDS),
    threads: new Option('--threads <count>', 'threads').argParser(wholeNumber(1, 256)),
    simd: new Option(
      '--simd <build>',
      "build of WebAssembly, without machine code (default: the runtime's choice)",
    ).choices(['relaxed', 'baseline']),
    repeats: new Option('--repeats <rounds>', 'interleaved rounds').argParser(wholeNumber(1, 1000)),
    limit: new Option('--limit <seconds>', 'longest call that is waited for').argParser(wholeNumber(1, 86_400)),
    calls: new Option('--calls <count>', 'calls in a row').argParser(wholeNumber(1, 1e9)),
    peers: new Option(
      '--peers',
      'measure other systems too: those from npm, installed on first use, and the PyTorch of python3 or SACCADE_PYTHON',
    ),
    browser: new Option(
      '--browser [address]',
      "in a browser: a headless Chromium; the one at a DevTools address; or 'wait' for one that you point at a page",
    ).argParser(browserAddress),
    only: new Option('--only <names>', 'only these rows, beside their baseline').argParser(listOf((text) => text)),
    inProcess: new Option('--in-process', 'measure this process instead of a fresh one'),
  };
  return (Object.keys(defaults) as (keyof BenchOptions)[]).map((name) => {
    const preset = defaults[name];
    return preset === undefined || preset === false || String(preset) === ''
      ? all[name]
      : all[name].default(preset, String(preset));
  });
}

/** What `--browser` may be given: nothing, `wait` or where DevTools listen. */
function browserAddress(text: string): string {
  if (text === 'wait' || (/^(https?|wss?):\/\//.test(text) && URL.canParse(text))) return text;
  throw new InvalidArgumentError("It must be 'wait' or the address of DevTools, such as http://127.0.0.1:9222.");
}

function listOf<T>(parse: (text: string) => T): (text: string) => T[] {
  return (text) => text.split(',').map(parse);
}

function choice<T extends string>(names: readonly T[]): (text: string) => T {
  return (text) => {
    if (names.includes(text as T)) return text as T;
    throw new InvalidArgumentError(`It must be of ${names.join(', ')}.`);
  };
}
