using System.Buffers;
using System.Buffers.Binary;
using Broker.Domain;

namespace Broker.Topics;

/// <summary>
/// A sealed segment's index: which topics have batches in it, and where. The directory is read when a node starts, the
/// body when somebody reads from there. All numbers are little-endian.
/// <code>
/// directory: u8 format 3 | u8 1: has all batches, 0: may lack some | 2 bytes zero | u32 topics
///   topic, by number: u32 number | u32 batches | i64 base offset | i64 end offset | i64 bytes of its batches
///                     | i64 timestamp of the last one
/// body, slots of 32 bytes: topics as in the directory, each with its batches in offset order
///   slot: i64 base offset | i64 timestamp | u32 records | u32 entry, from the segment's first one on
///         | u32 position in the entry's body | u32 length
/// </code>
/// In format 2 the second byte was zero too: it does not say that all batches are there. Topic 3 has one batch with
/// records 7 and 8 in the segment's entry 2:
/// <code>
/// directory: 03 01 00 00 | 01 00 00 00
///   03 00 00 00 | 01 00 00 00 | 07 00 00 00 00 00 00 00 | 09 00 00 00 00 00 00 00
///   04 00 00 00 00 00 00 00 | E8 03 00 00 00 00 00 00
/// body: 07 00 00 00 00 00 00 00 | E8 03 00 00 00 00 00 00 | 02 00 00 00 | 02 00 00 00 | 1F 00 00 00 | 04 00 00 00
/// </code>
/// </summary>
internal static class SegmentIndex
{
    public const int SlotBytes = 32;

    private const byte Format = 3;
    private const byte FormerFormat = 2;
    private const int HeaderBytes = 8;
    private const int TopicBytes = 40;
    private const int PieceBytes = 4096;
    private const int PieceSlots = PieceBytes / SlotBytes;

    /// <summary>
    /// Writes what the memory of these topics, which come by number, holds of the entries. It is complete, when memory
    /// has known all of them since they were applied, but for what can be read no more.
    /// </summary>
    public static void Write(
        IEnumerable<TopicState> topics,
        LogIndex first,
        LogIndex last,
        bool isComplete,
        IBufferWriter<byte> directory,
        IBufferWriter<byte> body)
    {
        var parts = new List<(int Number, BatchIndex Memory, int From, int To)>();
        foreach (var topic in topics)
        {
            var memory = topic.Parts.Memory;
            var (from, to) = (memory.FindEntry(first), memory.FindEntry(last.Next()));
            if (from < to)
            {
                parts.Add((topic.Number, memory, from, to));
            }
        }

        parts.Sort(static (left, right) => left.Number.CompareTo(right.Number));
        var header = directory.GetSpan(HeaderBytes);
        BinaryPrimitives.WriteUInt32LittleEndian(header, Format);
        header[1] = isComplete ? (byte)1 : (byte)0;
        BinaryPrimitives.WriteInt32LittleEndian(header[4..], parts.Count);
        directory.Advance(HeaderBytes);

        // Room for all at once: a buffer that doubles on its way there leaves large arrays behind.
        directory.GetSpan(parts.Count * TopicBytes);
        body.GetSpan(parts.Sum(static part => part.To - part.From) * SlotBytes);
        foreach (var (number, memory, from, to) in parts)
        {
            var entry = directory.GetSpan(TopicBytes);
            BinaryPrimitives.WriteInt32LittleEndian(entry, number);
            BinaryPrimitives.WriteInt32LittleEndian(entry[4..], to - from);
            BinaryPrimitives.WriteInt64LittleEndian(entry[8..], memory[from].BaseOffset);
            BinaryPrimitives.WriteInt64LittleEndian(entry[16..], memory[to - 1].EndOffset);
            BinaryPrimitives.WriteInt64LittleEndian(entry[32..], memory[to - 1].TimestampUnixMs);
            var sizeBytes = 0L;
            for (var ordinal = from; ordinal < to; ordinal++)
            {
                WriteSlot(body.GetSpan(SlotBytes), memory[ordinal], first);
                body.Advance(SlotBytes);
                sizeBytes += memory[ordinal].Length;
            }

            BinaryPrimitives.WriteInt64LittleEndian(entry[24..], sizeBytes);
            directory.Advance(TopicBytes);
        }
    }

    /// <exception cref="InvalidDataException">These bytes are no directory of this format.</exception>
    public static List<(int Topic, IndexedRun Run)> ReadDirectory(
        LogIndex first, ReadOnlySpan<byte> directory, out bool isComplete)
    {
        isComplete = directory.Length >= HeaderBytes && directory[1] == 1;
        if (directory.Length < HeaderBytes || directory[0] is not (Format or FormerFormat)
            || (directory[0] == FormerFormat && directory[1] != 0) || directory[1] > 1 || directory[2] != 0
            || directory[3] != 0)
        {
            throw new InvalidDataException($"The index of segment {first} has no directory of a format that is known.");
        }

        var topics = BinaryPrimitives.ReadUInt32LittleEndian(directory[4..]);
        directory = directory[HeaderBytes..];
        if (directory.Length != topics * (long)TopicBytes)
        {
            throw new InvalidDataException($"The index of segment {first} has not the {topics} topics that it names.");
        }

        var runs = new List<(int Topic, IndexedRun Run)>((int)topics);
        long slot = 0;
        for (; !directory.IsEmpty; directory = directory[TopicBytes..])
        {
            var number = BinaryPrimitives.ReadInt32LittleEndian(directory);
            var count = BinaryPrimitives.ReadInt32LittleEndian(directory[4..]);
            var baseOffset = BinaryPrimitives.ReadInt64LittleEndian(directory[8..]);
            var endOffset = BinaryPrimitives.ReadInt64LittleEndian(directory[16..]);
            var sizeBytes = BinaryPrimitives.ReadInt64LittleEndian(directory[24..]);
            var timestampUnixMs = BinaryPrimitives.ReadInt64LittleEndian(directory[32..]);
            if (number <= (runs.Count == 0 ? -1 : runs[^1].Topic) || count <= 0 || slot + count > int.MaxValue
                || baseOffset < 0 || endOffset < baseOffset || endOffset - baseOffset < count
                || sizeBytes < 0 || timestampUnixMs < 0)
            {
                throw new InvalidDataException($"The index of segment {first} says of topic {number} what cannot be.");
            }

            runs.Add((
                number,
                new IndexedRun(first, baseOffset, endOffset, (int)slot, count, sizeBytes, timestampUnixMs)));
            slot += count;
        }

        return runs;
    }

    /// <summary>
    /// Takes batches of a run from the one that holds the search's next offset. False: the body cannot be read, or
    /// contradicts the directory; then what was taken before is right all the same.
    /// </summary>
    public static bool TryRead(ReadIndexBody? readBody, in IndexedRun run, ref BatchSearch search)
    {
        Span<byte> piece = stackalloc byte[PieceBytes];
        if (readBody is null || !TryFindPiece(readBody, run, search.Next, out var slot))
        {
            return false;
        }

        var end = run.FirstSlot + run.Count;
        while (slot < end && !search.IsDone)
        {
            // Pieces lie on the bounds of pages, each of which the file checks as a whole.
            var count = Math.Min(end, (slot / PieceSlots * PieceSlots) + PieceSlots) - slot;
            var bytes = piece[..(count * SlotBytes)];
            if (!readBody(run.SegmentFirst, (long)slot * SlotBytes, bytes))
            {
                return false;
            }

            for (; !bytes.IsEmpty && !search.IsDone; bytes = bytes[SlotBytes..])
            {
                var batch = ReadSlot(bytes, run.SegmentFirst);
                if (batch.EndOffset > search.Next
                    && (batch.BaseOffset > search.Next || batch.EndOffset > run.EndOffset
                        || batch.BaseOffset < run.BaseOffset || batch.Position < 0 || batch.Length < 0))
                {
                    return false;
                }

                if (batch.EndOffset > search.Next)
                {
                    search.TryTake(batch);
                }
            }

            slot += count;
        }

        return search.IsDone || search.Next == run.EndOffset;
    }

    /// <summary>
    /// The offset of the first batch of a run with that time or a later one; the run has one. False: the body cannot be
    /// read, or contradicts the directory.
    /// </summary>
    public static bool TryFindTime(
        ReadIndexBody? readBody, in IndexedRun run, long timestampUnixMs, out long baseOffset)
    {
        Span<byte> slot = stackalloc byte[SlotBytes];
        baseOffset = run.EndOffset;
        var (low, high) = (run.FirstSlot, run.FirstSlot + run.Count - 1);
        while (low <= high)
        {
            var middle = low + ((high - low) / 2);
            if (readBody?.Invoke(run.SegmentFirst, (long)middle * SlotBytes, slot) != true)
            {
                return false;
            }

            var batch = ReadSlot(slot, run.SegmentFirst);
            if (batch.BaseOffset < run.BaseOffset || batch.EndOffset > run.EndOffset)
            {
                return false;
            }

            if (batch.TimestampUnixMs >= timestampUnixMs)
            {
                baseOffset = batch.BaseOffset;
                high = middle - 1;
            }
            else
            {
                low = middle + 1;
            }
        }

        return baseOffset < run.EndOffset;
    }

    /// <summary>
    /// The slot from which to read on for an offset: the batch that holds it is there or later, within one piece.
    /// </summary>
    private static bool TryFindPiece(ReadIndexBody readBody, in IndexedRun run, long offset, out int slot)
    {
        Span<byte> bytes = stackalloc byte[sizeof(long)];
        slot = run.FirstSlot;
        var lowPiece = run.FirstSlot / PieceSlots;
        var highPiece = (run.FirstSlot + run.Count - 1) / PieceSlots;
        while (lowPiece < highPiece)
        {
            var middle = lowPiece + ((highPiece - lowPiece + 1) / 2);
            if (!readBody(run.SegmentFirst, (long)middle * PieceBytes, bytes))
            {
                return false;
            }

            if (BinaryPrimitives.ReadInt64LittleEndian(bytes) <= offset)
            {
                lowPiece = middle;
                slot = middle * PieceSlots;
            }
            else
            {
                highPiece = middle - 1;
            }
        }

        return true;
    }

    private static void WriteSlot(Span<byte> slot, in BatchLocation batch, LogIndex segmentFirst)
    {
        BinaryPrimitives.WriteInt64LittleEndian(slot, batch.BaseOffset);
        BinaryPrimitives.WriteInt64LittleEndian(slot[8..], batch.TimestampUnixMs);
        BinaryPrimitives.WriteInt32LittleEndian(slot[16..], batch.Count);
        BinaryPrimitives.WriteUInt32LittleEndian(slot[20..], checked((uint)(batch.LogIndex - segmentFirst)));
        BinaryPrimitives.WriteInt32LittleEndian(slot[24..], batch.Position);
        BinaryPrimitives.WriteInt32LittleEndian(slot[28..], batch.Length);
    }

    private static BatchLocation ReadSlot(ReadOnlySpan<byte> slot, LogIndex segmentFirst) => new(
        BinaryPrimitives.ReadInt64LittleEndian(slot),
        BinaryPrimitives.ReadInt32LittleEndian(slot[16..]),
        BinaryPrimitives.ReadInt32LittleEndian(slot[24..]),
        segmentFirst + BinaryPrimitives.ReadUInt32LittleEndian(slot[20..]),
        BinaryPrimitives.ReadInt64LittleEndian(slot[8..]),
        BinaryPrimitives.ReadInt32LittleEndian(slot[28..]));
}
