/** The command line: its commands, and what a failure looks like from outside. */
import { constants } from 'node:os';
import { getSystemErrorMap } from 'node:util';
import { Command, CommanderError } from 'commander';
import { version } from '../../package.json';
import { SaccadeError } from '../errors';
import { printable } from '../text/printable';
import { WithFailuresError } from './failures';
import { Interrupted, interruptible } from './interrupt';

/** 128 plus the number of the signal that ended it. */
const EXIT = { done: 0, failed: 1, badInput: 2, interrupted: 128 } as const;

const LONGEST_LINE = 1000;

const EXAMPLES = `
Examples:
  $ saccade compare --text notes.txt --html report.html
  $ saccade mask attention --params '{"causal": true}'
  $ saccade run attention --in qkv.safetensors --out result.safetensors

saccade <command> --help tells more.`;

/** The commands by name: what each does, and how it is loaded, since most load every method. */
const COMMANDS: Readonly<Record<string, readonly [summary: string, load: () => Promise<Command>]>> = {
  compare: [
    'measure every attention on your own data and say which to use',
    async () => (await import('./compare')).compareCommand(),
  ],
  list: [
    'list methods and models, a line each; of one its paper, inputs, outputs and params',
    async () => (await import('./list')).listCommand(),
  ],
  run: ['run a method or a model on the tensors of a file', async () => (await import('./run')).runCommand()],
  look: [
    'what a network on pictures makes of one, and what it looked at',
    async () => (await import('./look')).lookCommand(),
  ],
  mask: ['draw which keys each query sees', async () => (await import('./mask')).maskCommand()],
  simulate: [
    'predict what a mask gains or reaches, without computing attention',
    async () => (await import('./simulate')).simulateCommand(),
  ],
  bench: [
    'measure speed and memory, each result checked first; without a suite: list them',
    async () => (await import('./bench')).benchCommand(),
  ],
  sweep: [
    'spread cases of bench and reproduce over machines and pages, by a NATS server',
    async () => (await import('./sweep')).sweepCommand(),
  ],
  reproduce: [
    "hold a paper's claims against measurements; without a paper: list",
    async () => (await import('./reproduce')).reproduceCommand(),
  ],
  train: ['train a decoder whose attention is any causal method', async () => (await import('./train')).trainCommand()],
  continual: [
    'learn tasks one after the other without forgetting, from labelled pictures',
    async () => (await import('./continual')).continualCommand(),
  ],
  anomaly: [
    'find defects in clouds of points, by what clouds without them look like',
    async () => (await import('./anomaly')).anomalyCommand(),
  ],
  paint: [
    'paint garments from words by diffusion, with placed noise and pruned places',
    async () => (await import('./paint')).paintCommand(),
  ],
  fit: [
    'fit points by kernel ridge regression, a Gaussian process or random features',
    async () => (await import('./fit')).fitCommand(),
  ],
  predict: ['ask a model that fit made', async () => (await import('./predict')).predictCommand()],
  inspect: [
    'what is in a file or folder of weights, or in one of its tensors',
    async () => (await import('./inspect')).inspectCommand(),
  ],
  quantize: [
    'round weights to 8 or 4 bits, and say what error that makes in each layer',
    async () => (await import('./quantize')).quantizeCommand(),
  ],
  generate: ['continue a text by a language model', async () => (await import('./generate')).generateCommand()],
  chat: ['talk with a language model', async () => (await import('./chat')).chatCommand()],
  perplexity: [
    'how well a language model predicts a text',
    async () => (await import('./perplexity')).perplexityCommand(),
  ],
  calibrate: [
    'find thresholds of a method by layer and head on a text',
    async () => (await import('./calibrate')).calibrateCommand(),
  ],
  serve: [
    "answer requests of OpenAI's interface by a language model",
    async () => (await import('./serve')).serveCommand(),
  ],
  cluster: ['run a program on several ranks', async () => (await import('./cluster')).clusterCommand()],
  tune: [
    'measure which sizes of WebGPU kernels are fastest on this device, and store them',
    async () => (await import('./tune')).tuneCommand(),
  ],
  doctor: ['what this machine offers, and what is missing', async () => (await import('./doctor')).doctorCommand()],
};

/** The command line with the options of one command, or of all of them; parsing errors are thrown, not printed. */
export async function program(called = Object.keys(COMMANDS)): Promise<Command> {
  const root = new Command('saccade')
    .description('Efficient attention in Node and the browser: choose it, check it, measure it.')
    .version(version)
    .addHelpText('after', EXAMPLES)
    .helpCommand(false)
    .enablePositionalOptions()
    .configureHelp({ subcommandTerm: (command) => command.name() })
    .exitOverride()
    .configureOutput({ outputError: () => {} });
  for (const [name, [summary, load]] of Object.entries(COMMANDS)) {
    const command = called.includes(name) ? await load() : new Command(name);
    root.addCommand(command.description(summary).copyInheritedSettings(root));
    for (const part of command.commands) part.copyInheritedSettings(root);
  }
  return root;
}

/** Runs the command line on `args`; resolves to the exit code, after one line on stderr if the input was bad. */
export async function main(args: readonly string[]): Promise<number> {
  try {
    const called = args.filter((word) => !word.startsWith('-')).slice(0, 1);
    const command = await interruptible(() => program(called));
    await command.parseAsync(args, { from: 'user' });
    return EXIT.done;
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) return EXIT.done;
    const { message, code } = describeFailure(error as Error);
    if (message) process.stderr.write(`${message}\n`);
    return code;
  }
}

function describeFailure(error: Error & { code?: string }): { message: string; code: number } {
  const oneLine = (text: string) => `saccade: ${shortened(printable(text.replace(/\s*\n\s*/g, ' ')))}`;
  // Commander has already printed the help.
  if (error.code === 'commander.help') return { message: '', code: EXIT.badInput };
  if (error instanceof CommanderError) {
    return { message: oneLine(error.message.replace(/^error: /, '')), code: EXIT.badInput };
  }
  if (error instanceof SaccadeError) return { message: oneLine(error.message), code: EXIT.badInput };
  if (isSystemError(error)) return { message: oneLine(systemMessage(error)), code: EXIT.badInput };
  if (error instanceof WithFailuresError) return { message: oneLine(error.message), code: EXIT.failed };
  if (error.name === 'AbortError') {
    const by = error instanceof Interrupted ? error.by : 'SIGINT';
    return { message: oneLine('interrupted'), code: EXIT.interrupted + constants.signals[by] };
  }
  return { message: printable(error.stack ?? String(error)), code: EXIT.failed };
}

/** Quoted values may have any length. */
function shortened(line: string): string {
  return line.length > LONGEST_LINE ? `${line.slice(0, LONGEST_LINE)}...` : line;
}

function isSystemError(error: NodeJS.ErrnoException): boolean {
  return error.syscall !== undefined && error.errno !== undefined;
}

function systemMessage({ errno, syscall, path, message }: NodeJS.ErrnoException): string {
  const [, reason] = getSystemErrorMap().get(errno as number) ?? [];
  const verb = syscall === 'scandir' || syscall === 'stat' ? 'read' : syscall;
  return path === undefined || reason === undefined ? message : `cannot ${verb} '${path}': ${reason}`;
}
