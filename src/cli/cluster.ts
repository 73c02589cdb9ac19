import { Command } from 'commander';
import { launchRanks } from '../cluster/launch';
import { openLibrary } from '../cluster/open-mpi';
import { BackendError } from '../errors';
import { checkFile } from './check-file';
import { WithFailuresError } from './failures';
import { interruptible } from './interrupt';
import { number, wholeNumber } from './options';

interface RunOptions {
  readonly ranks: number;
  readonly hostfile?: string;
  readonly slurm?: true;
  readonly seconds?: number;
}

export function clusterCommand(): Command {
  const command = new Command('cluster')
    .helpCommand(false)
    .enablePositionalOptions()
    .hook('preSubcommand', (parent, child) => {
      child.copyInheritedSettings(parent);
    });
  return command.addCommand(runCommand());
}

function runCommand(): Command {
  return new Command('run')
    .description('run a program on several ranks, here or on other machines, by Open MPI')
    .argument('<script>', 'a module for Node, which calls asRank() or communicator() of saccade/cluster')
    .argument('[words...]', 'its own arguments')
    .passThroughOptions()
    .requiredOption('-n, --ranks <count>', 'how many ranks', wholeNumber(1, 4096))
    .option('--hostfile <file>', 'machines for mpirun, one a line; default: this one')
    .option('--slurm', "by Slurm's srun, in an allocation or for one of its own")
    .option('--seconds <seconds>', 'how long a call waits for the other ranks; default: 300', number(0.001, 1e6))
    .addHelpText(
      'after',
      `
Each line that a rank writes begins with its number. If a rank fails, all end.
Exit code: 0 all ranks ended well, 1 one did not, 2 bad input, or something that is missing.

Example:
  $ saccade cluster run -n 4 train.mjs --steps 100`,
    )
    .action(async (script: string, words: readonly string[], options: RunOptions) => {
      checkFile('script', script);
      if (options.hostfile !== undefined) checkFile('--hostfile', options.hostfile);
      // What is missing here is said once, and not by each rank.
      await openLibrary();
      await interruptible((signal) => run([script, ...words], options, signal));
    });
}

async function run(words: readonly string[], options: RunOptions, signal: AbortSignal): Promise<void> {
  const onLine = (rank: number | undefined, stream: 'stdout' | 'stderr', line: string) => {
    process[stream].write(`${rank === undefined ? '' : `[${rank}] `}${line}\n`);
  };
  try {
    const joined = await launchRanks({ ...options, words, signal, onLine });
    if (joined === 0)
      process.stderr.write(
        `saccade: ${words[0]} ran ${options.ranks === 1 ? 'alone' : `${options.ranks} times, each alone`}: it calls neither asRank() nor communicator() of saccade/cluster\n`,
      );
  } catch (error) {
    if (error instanceof BackendError) throw new WithFailuresError(error.message);
    throw error;
  }
}
