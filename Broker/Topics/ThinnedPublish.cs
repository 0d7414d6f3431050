using Broker.Domain;
using Broker.State;

namespace Broker.Topics;

/// <summary>
/// A publish of whose batch something was taken out of the log, because no reader can get it any more. What decides
/// about it when it is applied stays, so it has the same result and gives the same state. A number is a varint:
/// <code>
/// thinned publish: u8 topic length | topic | number that the topic must have (only of PublishToPartition; of
///   PublishDelayed 1 + that number, 0 for any)
///   | 1 + the offset that the first record must get, 0 for any (of all but Publish)
///   | producer id | epoch, sequence (only where the id is not 0) | record count
///   | where the batch began in the whole body | bytes that it had | bytes of its largest value
///   | its records' times (only of PublishDelayed, see DeliveryTimes)
///   | what is left: nothing; or number of the topic | offset of the first record | runs, to the end
/// run: its first record, counted from the batch's first one | records | bytes | RecordBatch
/// </code>
/// A run of no records is the grave of a delete marker that compaction has taken out: its bytes are the mark of its key
/// (<see cref="KeyMark"/>). No reader gets it.
/// An unstamped publish of two records to topic "a", whose batch of 4 bytes began at 31, and of which nothing is left;
/// and one of which the second record, 0A 00, is left, that topic 3 has at offset 8; and the same where the second was
/// a delete marker of the key "k":
/// <code>
/// 08 00 00 00 | 81 | 01 61 | 00 | 02 | 1F | 04 | 00
/// 0F 00 00 00 | 81 | 01 61 | 00 | 02 | 1F | 04 | 00 | 03 | 07 | 01 01 02 0A 00
/// 0E 00 00 00 | 81 | 01 61 | 00 | 02 | 1F | 04 | 00 | 03 | 07 | 01 00 01 6B
/// </code>
/// </summary>
internal static class ThinnedPublish
{
    /// <summary>Numbers before what is left, at the most; and of a run.</summary>
    private const int MaxNumbers = 9;
    private const int RunNumbers = 3;

    /// <summary>What a record may need that becomes a run of its own, or a grave.</summary>
    private const int MaxRunBytes = (RunNumbers * 5) + KeyMark.Bytes;

    public static PublishCommand Read(Command command)
    {
        var reader = new PayloadReader(command.Payload);
        var topic = reader.TakeBytes(reader.TakeByte());
        var isDelayed = command.Kind == CommandKind.PublishDelayed;
        var topicNumber = command.Kind == CommandKind.PublishToPartition ? reader.TakeVarint32()
            : isDelayed ? reader.TakeVarint32() - 1
            : -1;
        var expectedOffset = command.Kind == CommandKind.Publish ? -1 : (long)reader.TakeVarint() - 1;
        var producer = reader.TakeVarint();
        var stamp = producer == 0
            ? PublishStamp.None
            : new PublishStamp(producer, (uint)reader.TakeVarint(), reader.TakeVarint());
        var count = reader.TakeVarint32();
        var (position, bytes, largest) = (reader.TakeVarint32(), reader.TakeVarint32(), reader.TakeVarint32());
        var delays = isDelayed ? DeliveryTimes.Take(ref reader) : default;
        Invariant.Check(!topic.IsEmpty && count > 0, "a thinned publish names its topic, and had records");
        return new PublishCommand
        {
            Topic = topic,
            ExpectedOffset = expectedOffset,
            TopicNumber = topicNumber,
            Stamp = stamp,
            RecordCount = count,
            Batch = default,
            BatchPosition = position,
            BatchBytes = bytes,
            IsThinned = true,
            MayBeDelayed = isDelayed,
            Delays = delays,
            LargestValueBytes = largest,
            Remains = reader.Rest,
        };
    }

    /// <summary>
    /// Writes a publish in this form, with the records that it still has and that are kept; returns the bytes written.
    /// </summary>
    /// <param name="into">See <see cref="MaxBytes"/>.</param>
    /// <param name="kind">The command's kind.</param>
    /// <param name="publish">What it is now.</param>
    /// <param name="topic">The number of its topic, and the offset of its first record; null: nothing of it is left.
    /// </param>
    /// <param name="judgement">Which of its records go all the same; null: none.</param>
    public static int Write(
        Span<byte> into,
        CommandKind kind,
        in PublishCommand publish,
        (int Number, long BaseOffset)? topic,
        KeyJudgement? judgement = null)
    {
        var writer = new PayloadWriter(into[CommandSequence.HeaderBytes..]);
        writer.PutByte((byte)publish.Topic.Length);
        writer.PutBytes(publish.Topic);
        if (kind is CommandKind.PublishToPartition or CommandKind.PublishDelayed)
        {
            writer.PutVarint((ulong)(publish.TopicNumber + (publish.MayBeDelayed ? 1 : 0)));
        }

        if (kind != CommandKind.Publish)
        {
            writer.PutVarint((ulong)(publish.ExpectedOffset + 1));
        }

        writer.PutVarint(publish.Stamp.ProducerId);
        if (!publish.Stamp.IsNone)
        {
            writer.PutVarint(publish.Stamp.Epoch);
            writer.PutVarint(publish.Stamp.Sequence);
        }

        writer.PutVarint((ulong)publish.RecordCount);
        writer.PutVarint((ulong)publish.BatchPosition);
        writer.PutVarint((ulong)publish.BatchBytes);
        writer.PutVarint((ulong)LargestValueOf(publish));
        if (publish.MayBeDelayed)
        {
            DeliveryTimes.Write(ref writer, publish);
        }

        if (topic is { } kept)
        {
            WriteRemains(ref writer, publish, kept, judgement);
        }

        CommandSequence.WriteThinnedCommand(into, kind, writer.Written);
        return CommandSequence.HeaderBytes + writer.Written;
    }

    /// <summary>What <see cref="Write"/> may need.</summary>
    public static int MaxBytes(in PublishCommand publish, KeyJudgement? judgement = null) =>
        CommandSequence.HeaderBytes + 1 + publish.Topic.Length + publish.Batch.Length + publish.Remains.Length
        + ((MaxNumbers + 2 + RunNumbers) * PayloadWriter.MaxVarintBytes) + DeliveryTimes.MaxBytes(publish)
        + (judgement is null ? 0 : publish.RecordCount * MaxRunBytes);

    /// <summary>The bytes of the largest value that the batch had.</summary>
    public static int LargestValueOf(in PublishCommand publish) =>
        publish.IsThinned ? publish.LargestValueBytes : RecordBatchScanner.LargestValue(publish.Batch);

    /// <summary>
    /// Finds what is left of a topic's batches in a thinned body, graves too. A batch that is not found is gone. Where
    /// the bytes of a run are is counted from the body's beginning.
    /// </summary>
    /// <param name="body">A thinned body.</param>
    /// <param name="topic">The topic's number.</param>
    /// <param name="wanted">Its batches in this entry, in offset order.</param>
    /// <param name="into">Where the runs are added, in offset order.</param>
    public static void Find(
        ReadOnlySpan<byte> body, int topic, ReadOnlySpan<BatchLocation> wanted, List<BatchLocation> into)
    {
        var next = 0;
        foreach (var command in new CommandSequence(body))
        {
            if (command.IsThinned)
            {
                Find(command, topic, wanted, ref next, into);
            }
            else if (AtomicCommands.IsAtomic(command.Kind))
            {
                foreach (var part in AtomicCommands.Parts(command))
                {
                    Find(part, topic, wanted, ref next, into);
                }
            }
        }
    }

    private static void Find(
        Command command,
        int topic,
        ReadOnlySpan<BatchLocation> wanted,
        ref int next,
        List<BatchLocation> into)
    {
        var publish = Read(command);
        var reader = new PayloadReader(publish.Remains);
        if (next == wanted.Length || publish.Remains.IsEmpty || reader.TakeVarint32() != topic)
        {
            return;
        }

        var baseOffset = (long)reader.TakeVarint();
        while (next < wanted.Length && wanted[next].BaseOffset < baseOffset)
        {
            next++;
        }

        if (next < wanted.Length && wanted[next].BaseOffset == baseOffset)
        {
            var end = command.PayloadPosition + command.Payload.Length;
            TakeRuns(reader, end, wanted[next], into);
        }
    }

    private static void WriteRemains(
        ref PayloadWriter writer,
        in PublishCommand publish,
        (int Number, long BaseOffset) topic,
        KeyJudgement? judgement)
    {
        var before = writer;
        writer.PutVarint((ulong)topic.Number);
        writer.PutVarint((ulong)topic.BaseOffset);
        var begin = writer.Written;
        if (!publish.IsThinned)
        {
            WriteKept(ref writer, topic.BaseOffset, 0, publish.RecordCount, publish.Batch, judgement);
        }
        else
        {
            var reader = new PayloadReader(publish.Remains);
            reader.TakeVarint();
            reader.TakeVarint();
            while (!reader.Rest.IsEmpty)
            {
                var (first, count, bytes) = (reader.TakeVarint32(), reader.TakeVarint32(), reader.TakeVarint32());
                WriteKept(ref writer, topic.BaseOffset, first, count, reader.TakeBytes(bytes), judgement);
            }
        }

        if (writer.Written == begin)
        {
            writer = before; // Nothing of it is left.
        }
    }

    /// <summary>Writes of one run what is kept of it: all, or runs of the records between those that go.</summary>
    private static void WriteKept(
        ref PayloadWriter writer,
        long baseOffset,
        int first,
        int count,
        ReadOnlySpan<byte> run,
        KeyJudgement? judgement)
    {
        if (judgement is null || count == 0)
        {
            // A grave is of no use any more when a later record of its key is there.
            if (judgement?.Replaced.Contains(baseOffset + first) != true)
            {
                WriteRun(ref writer, first, count, run);
            }

            return;
        }

        var rest = run;
        var (kept, next, from, keptBytes) = (first, first, 0, 0);
        Span<byte> mark = stackalloc byte[KeyMark.Bytes];
        for (; RecordBatchScanner.TryTakeRecord(ref rest, out var record); next++)
        {
            var isGrave = judgement.Graves.Contains(baseOffset + next);
            if (!isGrave && !judgement.Replaced.Contains(baseOffset + next))
            {
                keptBytes = run.Length - rest.Length - from;
                continue;
            }

            WriteRun(ref writer, kept, next - kept, run.Slice(from, keptBytes));
            if (isGrave)
            {
                WriteRun(ref writer, next, 0, mark[..KeyMark.Of(RecordBatchScanner.KeyOf(record)).Write(mark)]);
            }

            (kept, from, keptBytes) = (next + 1, run.Length - rest.Length, 0);
        }

        WriteRun(ref writer, kept, next - kept, run.Slice(from, keptBytes));
    }

    private static void WriteRun(ref PayloadWriter writer, int first, int count, scoped ReadOnlySpan<byte> bytes)
    {
        if (!bytes.IsEmpty)
        {
            writer.PutVarint((ulong)first);
            writer.PutVarint((ulong)count);
            writer.PutVarint((ulong)bytes.Length);
            writer.PutBytes(bytes);
        }
    }

    private static void TakeRuns(
        PayloadReader reader, int endPosition, in BatchLocation batch, List<BatchLocation> into)
    {
        while (!reader.Rest.IsEmpty)
        {
            var (first, count, bytes) = (reader.TakeVarint32(), reader.TakeVarint32(), reader.TakeVarint32());
            into.Add(batch with
            {
                BaseOffset = batch.BaseOffset + first,
                Count = count,
                Position = endPosition - reader.Rest.Length,
                Length = bytes,
            });
            reader.TakeBytes(bytes);
        }
    }
}
