import { Command, Option } from 'commander';
import { interruptible } from './interrupt';
import { backendOption, threadsOption } from './options';
import { onRanks, type RankOptions, rankOptions } from './ranks';
import { ONLY_OF_TEXTS, PICTURE_OPTIONS, TEXT_OPTIONS, type TrainOptions } from './train-options';
import { training } from './training';
import { say } from './write-file';

/** Options that only trainings on texts or pictures take: `every`, `optimizer` and `weights` are for files too. */
const NOT_OF_FILES = Object.keys({ ...TEXT_OPTIONS, ...PICTURE_OPTIONS }).filter(
  (name) => !['every', 'optimizer', 'weights'].includes(name),
);
export function trainCommand(): Command {
  const command = new Command('train')
    .option('--out <folder>', 'where checkpoints and results go', 'trained')
    .option('--resume', 'go on from the last checkpoint in the folder');
  for (const [name, { flags, help, take }] of Object.entries({ ...PICTURE_OPTIONS, ...TEXT_OPTIONS })) {
    const option = new Option(flags, help).argParser<unknown>(take);
    command.addOption(name === 'model' ? option.conflicts(ONLY_OF_TEXTS) : option);
  }
  return rankOptions(command, 'data')
    .addOption(new Option('--config <file>', 'with --tokens: the decoder, as a config.json').conflicts(NOT_OF_FILES))
    .addOption(new Option('--tokens <file>', 'tokens [steps, b, n + 1] to learn, in order').conflicts(NOT_OF_FILES))
    .addOption(backendOption())
    .addOption(threadsOption())
    .addHelpText(
      'after',
      `\nExamples:\n  $ saccade train --method power-attention --params '{"block": 16, "window": 2}' --text notes.txt\n  $ saccade train --method lightning-attention,attention --params '[{}, {"window": [63, 0]}]'\n  $ saccade train --resume\n  $ saccade train --config config.json --weights start.safetensors --tokens tokens.safetensors --optimizer '{"name": "adamw"}' --out trained\n  $ saccade train --model van --params '{"variant": "mini"}' --data fashion-mnist\n  $ saccade train --model van --weights trained --freeze features --data photographs --out tuned`,
    )
    .action(async (options: TrainOptions & RankOptions) => {
      const { ranks = 1 } = options;
      await say(
        ranks > 1
          ? await onRanks<string>('train', options, 'data')
          : await interruptible((signal) => training(options, undefined, signal)),
      );
    });
}
