using System.Globalization;
using System.Text.Unicode;
using Broker.Domain;
using Google.Protobuf;

namespace Broker.Topics;

/// <summary>
/// Checks the encoded <c>broker.v1.RecordBatch</c> of a producer in one pass, so that what is stored can be read by
/// every consumer, and counts its records. It makes no objects; only a refusal allocates, for its words.
/// <code>
/// 0A 0E                      records[0], 14 bytes
///   0A 01 6B                 key "k"
///   12 02 68 69              value "hi"
///   1A 05 0A 01 68 12 00     headers[0]: name "h", value empty
/// </code>
/// It is stricter than Google.Protobuf in three things that other languages' parsers refuse or that only an attacker
/// writes: tags and lengths above 32 bits, groups, header names that are not UTF-8. Unknown fields pass, and so does a
/// known field with another wire type, which protobuf treats as unknown.
/// </summary>
public static class RecordBatchScanner
{
    internal const int RecordTtl = 4;
    internal const int RecordDeliverAt = 5;

    private const int BatchRecords = 1;
    private const int RecordKey = 1;
    private const int RecordValue = 2;
    private const int RecordHeaders = 3;
    private const int RecordPriority = 6;
    private const int HeaderName = 1;
    private const int HeaderValue = 2;

    public static BatchScan Scan(ReadOnlySpan<byte> batch)
    {
        if (batch.Length > Limits.BatchBytes)
        {
            return TooLarge($"The batch has {batch.Length:N0} bytes; the limit is {Limits.BatchBytes:N0}.");
        }

        var count = 0;
        var isDelayed = false;
        var reader = new WireReader(batch);
        while (!reader.IsAtEnd)
        {
            if (!reader.TryTakeTag(out var field, out var type))
            {
                return Malformed(count, "a field's tag");
            }

            if (field != BatchRecords || type != WireReader.LengthDelimited)
            {
                if (!reader.TrySkip(type))
                {
                    return Malformed(count, "an unknown field of the batch");
                }

                continue;
            }

            if (!reader.TryTakeBytes(out var record))
            {
                return Malformed(count, "the record's length");
            }

            if (!ScanRecord(record, count, ref isDelayed, out var refusal))
            {
                return refusal;
            }

            if (++count > Limits.RecordsPerBatch)
            {
                return TooLarge(Say(
                    $"The batch has more than {Limits.RecordsPerBatch:N0} records, the limit. Send less at a time."));
            }
        }

        return count > 0
            ? new BatchScan(count, RefusalCode.None, null, isDelayed)
            : new BatchScan(0, RefusalCode.InvalidArgument, "The batch has no records; send at least one.");
    }

    /// <summary>The bytes of the largest value in a batch that the scan has accepted.</summary>
    public static int LargestValue(ReadOnlySpan<byte> batch)
    {
        var largest = 0;
        var reader = new WireReader(batch);
        while (!reader.IsAtEnd)
        {
            var isField = reader.TryTakeTag(out var field, out var type);
            if (field == BatchRecords && type == WireReader.LengthDelimited && reader.TryTakeBytes(out var record))
            {
                KeyOf(record, out var valueBytes, out _);
                largest = Math.Max(largest, valueBytes);
            }
            else
            {
                Invariant.Check(isField && reader.TrySkip(type), "a stored batch is well formed");
            }
        }

        return largest;
    }

    /// <summary>
    /// Takes the next record off a batch that the scan has accepted; what is left begins behind it. False: there is
    /// none.
    /// </summary>
    internal static bool TryTakeRecord(ref ReadOnlySpan<byte> batch, out ReadOnlySpan<byte> record)
    {
        var reader = new WireReader(batch);
        while (!reader.IsAtEnd)
        {
            var isField = reader.TryTakeTag(out var field, out var type);
            if (field == BatchRecords && type == WireReader.LengthDelimited && reader.TryTakeBytes(out record))
            {
                batch = batch[^reader.RestBytes..];
                return true;
            }

            Invariant.Check(isField && reader.TrySkip(type), "an accepted batch is well formed");
        }

        record = default;
        return false;
    }

    /// <summary>The key of such a record; empty when it has none.</summary>
    internal static ReadOnlySpan<byte> KeyOf(ReadOnlySpan<byte> record) => KeyOf(record, out _, out _);

    /// <summary>The same, how many bytes its value has, and its priority.</summary>
    internal static ReadOnlySpan<byte> KeyOf(ReadOnlySpan<byte> record, out int valueBytes, out byte priority)
    {
        var key = ReadOnlySpan<byte>.Empty;
        (valueBytes, priority) = (0, 0);
        var reader = new WireReader(record);
        while (!reader.IsAtEnd)
        {
            // Of a field that is there twice the last one counts, as for every parser.
            var isField = reader.TryTakeTag(out var field, out var type);
            if (field is RecordKey or RecordValue && type == WireReader.LengthDelimited
                && reader.TryTakeBytes(out var bytes))
            {
                key = field == RecordKey ? bytes : key;
                valueBytes = field == RecordValue ? bytes.Length : valueBytes;
            }
            else if (field == RecordPriority && type == WireReader.Varint && reader.TryTakeVarint(out var number))
            {
                priority = (byte)number;
            }
            else
            {
                Invariant.Check(isField && reader.TrySkip(type), "an accepted record is well formed");
            }
        }

        return key;
    }

    /// <summary>What a record of that length takes in a batch.</summary>
    internal static int FramedBytes(int recordBytes) =>
        1 + CodedOutputStream.ComputeLengthSize(recordBytes) + recordBytes;

    /// <summary>Writes a record as a part of a batch; answers the bytes written.</summary>
    internal static int WriteRecord(ReadOnlySpan<byte> record, Span<byte> into)
    {
        var at = 0;
        into[at++] = (BatchRecords << 3) | WireReader.LengthDelimited;
        var length = (uint)record.Length;
        for (; length >= 0x80; length >>= 7)
        {
            into[at++] = (byte)(length | 0x80);
        }

        into[at++] = (byte)length;
        record.CopyTo(into[at..]);
        return at + record.Length;
    }

    /// <summary>
    /// Where the bytes after so many records begin, in a batch that the scan has accepted and that has more of them.
    /// What follows is a batch, too: an encoded list is its elements, one after the other.
    /// </summary>
    public static int PositionAfter(ReadOnlySpan<byte> batch, int records)
    {
        var reader = new WireReader(batch);
        while (records > 0)
        {
            var isField = reader.TryTakeTag(out var field, out var type);
            Invariant.Check(isField, "a stored batch has as many records as its entry says");
            Invariant.Check(reader.TrySkip(type), "a stored batch is well formed");
            records -= field == BatchRecords && type == WireReader.LengthDelimited ? 1 : 0;
        }

        return batch.Length - reader.RestBytes;
    }

    private static bool ScanRecord(
        ReadOnlySpan<byte> record, int number, ref bool isDelayed, out BatchScan refusal)
    {
        refusal = default;
        var headers = 0;
        var reader = new WireReader(record);
        while (!reader.IsAtEnd)
        {
            if (!reader.TryTakeTag(out var field, out var type))
            {
                refusal = Malformed(number, "a field's tag");
                return false;
            }

            if (field > RecordHeaders || type != WireReader.LengthDelimited)
            {
                if (!PassField(ref reader, field, type, number, ref isDelayed, out refusal))
                {
                    return false;
                }

                continue;
            }

            if (!reader.TryTakeBytes(out var bytes))
            {
                refusal = Malformed(number, "a field's length");
                return false;
            }

            var fits = field switch
            {
                RecordKey => FitsLimit(bytes.Length, Limits.KeyBytes, number, "key", out refusal),
                RecordValue => FitsLimit(bytes.Length, Limits.RecordBytes, number, "value", out refusal),
                _ => ScanHeader(bytes, number, ++headers, out refusal),
            };
            if (!fits)
            {
                return false;
            }
        }

        return true;
    }

    /// <summary>
    /// Passes over a field that is neither key, value nor header; false when it says what cannot be.
    /// </summary>
    private static bool PassField(
        ref WireReader reader, int field, int type, int number, ref bool isDelayed, out BatchScan refusal)
    {
        refusal = default;
        if (field is not (RecordTtl or RecordDeliverAt or RecordPriority) || type != WireReader.Varint)
        {
            if (reader.TrySkip(type))
            {
                return true;
            }

            refusal = Malformed(number, "an unknown field of the record");
            return false;
        }

        if (!reader.TryTakeVarint(out var value))
        {
            refusal = Malformed(number, "a number");
            return false;
        }

        if (field == RecordPriority && value > Limits.MostPriority)
        {
            refusal = new BatchScan(0, RefusalCode.InvalidArgument, Say(
                $"Record {number} (from 0) has priority {value}; it is 0 to {Limits.MostPriority}."));
        }
        else if (field == RecordDeliverAt && (long)value < 0)
        {
            refusal = new BatchScan(0, RefusalCode.InvalidArgument, Say(
                $"Record {number} (from 0) has deliver_at_unix_ms {(long)value}; a time is in milliseconds since 1970 ")
                + "and not negative. Leave it out for no delay.");
        }

        isDelayed |= field == RecordDeliverAt && value != 0;

        return refusal.Code == RefusalCode.None;
    }

    private static bool ScanHeader(ReadOnlySpan<byte> header, int number, int ordinal, out BatchScan refusal)
    {
        refusal = default;
        if (ordinal > Limits.HeadersPerRecord)
        {
            refusal = TooLarge(Say($"Record {number} has more than {Limits.HeadersPerRecord} headers."));
            return false;
        }

        var nameBytes = 0;
        var valueBytes = 0;
        var reader = new WireReader(header);
        while (!reader.IsAtEnd)
        {
            if (!reader.TryTakeTag(out var field, out var type))
            {
                refusal = Malformed(number, "a header's tag");
                return false;
            }

            if (field > HeaderValue || type != WireReader.LengthDelimited)
            {
                if (!reader.TrySkip(type))
                {
                    refusal = Malformed(number, "an unknown field of a header");
                    return false;
                }

                continue;
            }

            if (!reader.TryTakeBytes(out var bytes))
            {
                refusal = Malformed(number, "a header's length");
                return false;
            }

            // A field that comes twice counts with its last value, as protobuf reads it.
            if (field == HeaderValue)
            {
                valueBytes = bytes.Length;
                continue;
            }

            if (!Utf8.IsValid(bytes))
            {
                refusal = Malformed(number, "a header's name, which is not UTF-8");
                return false;
            }

            nameBytes = bytes.Length;
        }

        return FitsLimit(nameBytes + valueBytes, Limits.HeaderBytes, number, "header", out refusal);
    }

    private static bool FitsLimit(int actualBytes, int limitBytes, int number, string what, out BatchScan refusal)
    {
        refusal = actualBytes <= limitBytes
            ? default
            : TooLarge(Say($"Record {number} has a {what} of {actualBytes:N0} bytes; the limit is {limitBytes:N0}."));
        return actualBytes <= limitBytes;
    }

    private static BatchScan TooLarge(string reason) => new(0, RefusalCode.ResourceExhausted, reason);

    private static BatchScan Malformed(int number, string where) => new(
        0,
        RefusalCode.InvalidArgument,
        Say($"The batch is not an encoded broker.v1.RecordBatch: record {number} (from 0) is malformed at {where}."));

    private static string Say(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
