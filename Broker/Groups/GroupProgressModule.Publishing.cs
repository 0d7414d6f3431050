using Broker.Domain;
using Broker.Replication;
using Broker.State;
using Broker.Topics;

namespace Broker.Groups;

/// <content>Records that are finished together with what is published of them.</content>
internal sealed partial class GroupProgressModule
{
    /// <summary>Of what is settled a part is not possible; its answer names the topic and the offset.</summary>
    public const int SettlingPart = -1;

    /// <summary>
    /// Both parts are judged before anything is done. That none of the records is settled yet is what makes a result
    /// the only one: whoever else had a record has then published nothing of it. A repetition settles what is not
    /// settled, and needs no record for itself: what it repeats had them.
    /// </summary>
    private CommandResult PublishAndSettle(in ApplyStep step, in Command command)
    {
        var judged = topics.Atomic.Judge(step, command);
        var settles = new List<SettleCommand>();
        var size = _size;
        foreach (var part in AtomicCommands.Settling(command))
        {
            var settle = GroupCommands.ReadSettle(part);
            var refusal = Judge(step, settle, judged.Duplicate, ref size);
            if (judged.Code == RefusalCode.None && refusal.Code != RefusalCode.None)
            {
                judged = refusal;
            }

            settles.Add(settle);
        }

        if (judged.Code != RefusalCode.None)
        {
            return judged;
        }

        var result = topics.Atomic.Store(step, command, judged);
        foreach (var settle in settles)
        {
            var settled = Settle(step, settle);
            Invariant.Check(
                settled.Code == RefusalCode.None || judged.Duplicate, "what was judged to be possible is done");
        }

        return result;
    }

    private CommandResult Judge(in ApplyStep step, SettleCommand settle, bool isRepetition, ref int size)
    {
        var lost = new CommandResult { Code = RefusalCode.LeaseLost, Part = SettlingPart, Topic = settle.Topic };
        if (Find(step, settle.Group, settle.Topic, settle.Turn, out _, out var progress, out _) != RefusalCode.None)
        {
            return isRepetition ? default : lost with { BaseOffset = settle.Ranges[0].First };
        }

        var ranges = progress!.Settled.Ranges.Count;
        foreach (var range in settle.Ranges)
        {
            var settled = progress.Settled.FirstIn(range.First);
            if (!isRepetition && settled < range.End)
            {
                return lost with { BaseOffset = settled };
            }

            // Ranges that touch each other count as if they did not: at most what is left over is refused too early.
            var more = Math.Max(0, progress.Settled.CountWith(range) - progress.Settled.Ranges.Count);
            ranges += more;
            size += more;
            if (more > 0 && (ranges > bounds.RangesPerTopic || size > bounds.Size))
            {
                return new CommandResult { Code = RefusalCode.ResourceExhausted, Part = SettlingPart };
            }
        }

        return default;
    }
}
