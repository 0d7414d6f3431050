using System.Diagnostics;
using System.Text;
using Broker.Client.Tracing;
using Broker.Diagnostics;
using Broker.Domain;
using Broker.State;

namespace Broker.Topics;

/// <summary>
/// Finds the traces that an entry's records bring along, on whatever replica the entry is: nothing but the records
/// carries them. It changes nothing, and no state follows from it.
/// </summary>
internal static class PublishTraces
{
    /// <summary>Returns how many were found among the first records, at most Limits.TracedPublishesPerEntry.</summary>
    public static int Find(ReadOnlySpan<byte> body, Span<TracedPublish> into)
    {
        var room = new TraceContexts();
        Span<ActivityContext> contexts = room;
        var found = 0;
        var recordsLeft = Limits.RecordsLookedAtForTraces;
        foreach (var command in new CommandSequence(body))
        {
            if (TopicCommands.IsPublish(command.Kind))
            {
                Look(command, contexts, into, ref found, ref recordsLeft);
            }
            else if (AtomicCommands.IsAtomic(command.Kind))
            {
                foreach (var part in AtomicCommands.Parts(command))
                {
                    Look(part, contexts, into, ref found, ref recordsLeft);
                }
            }
        }

        return found;
    }

    private static void Look(
        in Command command,
        Span<ActivityContext> contexts,
        Span<TracedPublish> into,
        ref int found,
        ref int recordsLeft)
    {
        if (found == contexts.Length || recordsLeft == 0)
        {
            return;
        }

        var publish = TopicCommands.ReadPublish(command);
        var added = TraceHeader.Find(publish.Batch, ref recordsLeft, contexts[found..]);
        for (var i = 0; i < added; i++, found++)
        {
            into[found] = new TracedPublish(Encoding.UTF8.GetString(publish.Topic), contexts[found]);
        }
    }
}
