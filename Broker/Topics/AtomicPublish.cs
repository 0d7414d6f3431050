using Broker.Domain;
using Broker.Replication;
using Broker.State;

namespace Broker.Topics;

/// <summary>Several publishes that are one command: all of them are stored, or none is.</summary>
internal sealed class AtomicPublish(TopicModule topics, PublishAdmission admission)
{
    public CommandResult Apply(in ApplyStep step, in Command command)
    {
        var judged = Judge(step, command);
        return judged.Code == RefusalCode.None ? Store(step, command, judged) : judged;
    }

    /// <summary>
    /// Every part is judged before the first one is stored, each as if those before it were stored. All of them may be
    /// repetitions of what was stored together; when only some are, somebody has put other parts together, and to
    /// store the rest would not be what was asked for. Nothing is stored yet.
    /// </summary>
    public CommandResult Judge(in ApplyStep step, in Command command)
    {
        var stage = new AtomicStage();
        var answers = new List<CommandResult>();
        var repeated = 0;
        foreach (var part in AtomicCommands.Parts(command))
        {
            var publish = TopicCommands.ReadPublish(part);
            var answer = Judge(publish, stage, step);
            if (answer.Code != RefusalCode.None)
            {
                return answer with { Part = answers.Count };
            }

            repeated += answer.Duplicate ? 1 : 0;
            answers.Add(answer);
        }

        Invariant.Check(answers.Count > 0, "what is stored together are some publishes");
        return repeated > 0 && repeated < answers.Count
            ? new CommandResult
            {
                Code = RefusalCode.PartlyStored,
                Part = answers.FindIndex(static answer => answer.Duplicate),
            }
            : new CommandResult { Duplicate = repeated > 0, Parts = [.. answers] };
    }

    /// <summary>Stores what was judged just now, unless it is a repetition.</summary>
    public CommandResult Store(in ApplyStep step, in Command command, CommandResult judged)
    {
        if (!judged.Duplicate)
        {
            StoreAll(step, command, judged.Parts!);
        }

        return judged with
        {
            Count = judged.Parts!.Sum(static answer => answer.Count),
            TimestampUnixMs = step.Entry.TimestampUnixMs,
        };
    }

    /// <summary>What a part comes to: a refusal, a repetition, or nothing yet: it is to be stored.</summary>
    private CommandResult Judge(in PublishCommand publish, AtomicStage stage, in ApplyStep step)
    {
        var topic = topics.Find(publish.Topic);
        var isNew = topic is null;
        if (!TopicModule.IsMeant(publish, topic))
        {
            step.Hash.Add(StableHash.Compute(publish.Topic));
            return new CommandResult { Code = RefusalCode.PartitionsChanged };
        }

        topic ??= topics.NewTopic(publish.Topic, TopicSettings.Default);
        step.Hash.Add(topic.NameHash);
        if (admission.Admits(publish, topic, isNew, topics.Counts, step.Entry.TimestampUnixMs, out var answer, stage))
        {
            stage.Admit(topic, isNew, publish);
        }

        answer.Topic = topic.Number;
        return answer;
    }

    private void StoreAll(in ApplyStep step, in Command command, CommandResult[] answers)
    {
        var at = 0;
        foreach (var part in AtomicCommands.Parts(command))
        {
            var publish = TopicCommands.ReadPublish(part);
            answers[at] = topics.Store(step, publish);
            step.Hash.Add(answers[at++].BaseOffset);
        }
    }
}
