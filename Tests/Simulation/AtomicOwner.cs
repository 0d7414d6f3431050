using Broker.Domain;
using Broker.State;
using Broker.Topics;

namespace Broker.Tests.Simulation;

/// <summary>
/// A client that stores batches in two topics at once, as many records in each. So both topics have the same next
/// offset after every entry, on every replica. It also sends what must be refused as a whole, and repeats what was
/// stored.
/// </summary>
internal sealed class AtomicOwner(SimulatedGroup group)
    : StepClient(group.World, "pair", Figure.AtomicSteps, slowness: 3)
{
    public const string Left = "pair.left";
    public const string Right = "pair.right";

    private const ulong Producer = 600;
    private const int MaxBatchRecords = 3;
    private const long NeverReached = 1_000_000_000;

    private readonly List<Pair> _stored = [];
    private long _next;

    public override string ToString() => $"the next offset is {_next}";

    protected override ClientStep Choose() => Random.Next(8) switch
    {
        0 or 1 => StoreWrongly(),
        2 when _stored.Count > 0 => Repeat(),
        3 when _stored.Count > 0 => StoreInPart(),
        _ => Store(),
    };

    /// <summary>
    /// Where producers are soon forgotten, only the condition keeps a repetition from being stored again; elsewhere it
    /// is the stamp.
    /// </summary>
    private ClientStep Store()
    {
        var pair = new Pair(_next, Random.Next(1, MaxBatchRecords + 1), World.NextValue(), World.NextValue());
        var isStamped = !World.Scenario.HasCrowd;
        return new ClientStep(group, $"{pair}", pair.Encode(isStamped, isStamped ? null : _next), pair.Number)
        {
            Take = (answer, isUncertain) =>
            {
                _next += pair.Count;
                _stored.Add(pair);
                if (!isStamped && isUncertain && answer.Code == RefusalCode.UnexpectedOffset)
                {
                    return answer.Expected == (ulong)_next;
                }

                return answer.Code == RefusalCode.None && (!answer.Duplicate || isUncertain)
                    && answer.Parts?.Length == 2
                    && Array.TrueForAll(answer.Parts, part => part.BaseOffset == pair.Offset);
            },
        };
    }

    /// <summary>The second part cannot be stored, so the first one is not either.</summary>
    private ClientStep StoreWrongly()
    {
        var pair = new Pair(_next, 1, World.NextValue(), World.NextValue());
        return new ClientStep(group,
            $"{pair}, wrongly", pair.Encode(isStamped: !World.Scenario.HasCrowd, null, NeverReached), pair.Number)
        {
            Take = (answer, _) =>
            {
                group.History.NoteRefused(pair.Number);
                group.History.NoteRefused(pair.OtherNumber);
                return answer is { Code: RefusalCode.UnexpectedOffset, Part: 1 }
                    && answer.Expected == (ulong)_next;
            },
        };
    }

    private ClientStep Repeat()
    {
        var at = Random.Next(_stored.Count);
        var pair = _stored[at];
        if (World.Scenario.HasCrowd)
        {
            return StoreWrongly();
        }

        var isForgotten = _stored.Count - 1 - at >= Limits.RememberedBatchesPerProducer;
        return new ClientStep(group, $"{pair}, again", pair.Encode(isStamped: true, null))
        {
            Take = (answer, _) => answer is { Code: RefusalCode.None, Duplicate: true, Parts.Length: 2 }
                && Array.TrueForAll(
                    answer.Parts, part => part.BaseOffset == (isForgotten ? -1 : pair.Offset)),
        };
    }

    /// <summary>The first part is a repetition, the second one is not: nothing is stored.</summary>
    private ClientStep StoreInPart()
    {
        if (World.Scenario.HasCrowd)
        {
            return StoreWrongly();
        }

        var old = _stored[^1];
        var pair = new Pair(_next, 1, World.NextValue(), World.NextValue());
        byte[] parts = [.. old.EncodeLeft(true, null), .. pair.EncodeRight(true, null)];
        return new ClientStep(group, $"{pair} beside {old}", Join(parts))
        {
            Take = (answer, _) =>
            {
                group.History.NoteRefused(pair.OtherNumber);
                return answer is { Code: RefusalCode.PartlyStored, Part: 0 };
            },
        };
    }

    private static byte[] Join(byte[] parts)
    {
        var command = new byte[CommandSequence.HeaderBytes + parts.Length];
        parts.CopyTo(command, AtomicCommands.WriteHeader(command, CommandKind.PublishAtomic, parts.Length));
        return command;
    }

    /// <summary>As many records for each topic; offsets are sequences, too.</summary>
    private sealed record Pair(long Offset, int Count, long Number, long OtherNumber)
    {
        private PublishStamp Stamp => new(Producer, 1, (ulong)Offset);

        public byte[] Encode(bool isStamped, long? expected, long? otherExpected = null) => Join(
            [.. EncodeLeft(isStamped, expected), .. EncodeRight(isStamped, otherExpected ?? expected)]);

        public byte[] EncodeLeft(bool isStamped, long? expected) => PublishProposal.Encode(
            Left, isStamped ? Stamp : PublishStamp.None, Count, Number, expected);

        public byte[] EncodeRight(bool isStamped, long? expected) => PublishProposal.Encode(
            Right, isStamped ? Stamp : PublishStamp.None, Count, OtherNumber, expected);
    }
}
