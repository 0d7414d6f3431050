using System.Diagnostics;
using System.Runtime.CompilerServices;
using System.Text;

namespace Broker.Client.Tracing;

/// <summary>Room for the traces of a batch; more of them have no spans and no links.</summary>
[InlineArray(Length)]
internal struct TraceContexts
{
    public const int Length = 8;

    private ActivityContext _first;
}

/// <summary>
/// The record header "traceparent" (w3.org/TR/trace-context), by which a trace goes on wherever the record goes. A
/// record has it only when its trace is recorded, so that the header costs nothing otherwise. Found in the form in
/// which protobuf's encoders write it, a field of a record:
/// <code>
/// 1A 46                                          headers, 70 bytes
///   0A 0B 74 72 61 63 65 70 61 72 65 6E 74       name "traceparent"
///   12 37 30 30 2D ...                           value "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
/// </code>
/// </summary>
internal static class TraceHeader
{
    public const string Name = "traceparent";

    private const int ValueBytes = 55;
    private const int RecordsTag = 0x0A;
    private const int HeadersTag = 0x1A;
    private const int LengthDelimited = 2;

    private static ReadOnlySpan<byte> NameField => "\n\u000Btraceparent"u8;

    private static ReadOnlySpan<byte> ValueField => "\u00127"u8;

    /// <summary>The message with the context among its headers. One that has such a header keeps its own.</summary>
    public static BrokerMessage Add(BrokerMessage message, ActivityContext context)
    {
        var headers = message.Headers ?? [];
        return headers.Count < MessageLimits.HeadersPerMessage && headers.All(header => header.Key != Name)
            ? message with { Headers = [.. headers, new(Name, Encoding.ASCII.GetBytes(Format(context)))] }
            : message;
    }

    /// <summary>The context among a record's headers; false: none, or one that is malformed.</summary>
    public static bool TryRead(BrokerRecord record, out ActivityContext context)
    {
        foreach (var (name, value) in record.Headers)
        {
            if (name == Name)
            {
                return ActivityContext.TryParse(
                    Encoding.ASCII.GetString(value.Span), traceState: null, isRemote: true, out context);
            }
        }

        context = default;
        return false;
    }

    /// <summary>The same for headers that are encoded as fields of a record.</summary>
    public static ReadOnlyMemory<byte> Add(ReadOnlyMemory<byte> headers, ActivityContext context)
    {
        var fields = new FieldReader(headers.Span);
        var count = 0;
        while (fields.TryNext(out var tag, out var content))
        {
            count++;
            if (tag == HeadersTag && content.StartsWith(NameField))
            {
                return headers;
            }
        }

        var size = NameField.Length + ValueField.Length + ValueBytes;
        return count < MessageLimits.HeadersPerMessage
            ? (byte[])
            [
                .. headers.Span, HeadersTag, (byte)size, .. NameField, .. ValueField,
                .. Encoding.ASCII.GetBytes(Format(context)),
            ]
            : headers;
    }

    /// <summary>The context of an encoded record, or of its encoded headers; false when none is recorded.</summary>
    public static bool TryRead(ReadOnlySpan<byte> record, out ActivityContext context)
    {
        var fields = new FieldReader(record);
        while (fields.TryNext(out var tag, out var content))
        {
            if (tag == HeadersTag && content.StartsWith(NameField))
            {
                return TryParse(content[NameField.Length..], out context);
            }
        }

        context = default;
        return false;
    }

    /// <summary>
    /// Puts the contexts of a batch's records into a span, each once in a row, and returns their number.
    /// Looks at no more records than recordsLeft, and counts them down.
    /// </summary>
    public static int Find(ReadOnlySpan<byte> batch, ref int recordsLeft, Span<ActivityContext> into)
    {
        var found = 0;
        var fields = new FieldReader(batch);
        while (found < into.Length && recordsLeft > 0 && fields.TryNext(out var tag, out var record))
        {
            recordsLeft--;
            if (tag == RecordsTag && TryRead(record, out var context)
                && (found == 0 || into[found - 1].SpanId != context.SpanId))
            {
                into[found++] = context;
            }
        }

        return found;
    }

    private static string Format(ActivityContext context) =>
        $"00-{context.TraceId.ToHexString()}-{context.SpanId.ToHexString()}-{(byte)context.TraceFlags:x2}";

    private static bool TryParse(ReadOnlySpan<byte> field, out ActivityContext context)
    {
        context = default;
        if (field.Length != ValueField.Length + ValueBytes || !field.StartsWith(ValueField))
        {
            return false;
        }

        // The last bit is the flag "recorded": what has it not is not worth a string.
        var last = (char)field[^1];
        return char.IsAsciiHexDigitLower(last) && (last - (last <= '9' ? '0' : 'a' - 10)) % 2 == 1
            && ActivityContext.TryParse(
                Encoding.ASCII.GetString(field[ValueField.Length..]), null, isRemote: true, out context);
    }

    /// <summary>
    /// The fields with a length; others are passed over. Ends at what is malformed: whoever wants the message itself
    /// says so, a trace is not worth an error.
    /// </summary>
    private ref struct FieldReader(ReadOnlySpan<byte> message)
    {
        private const int Varint = 0;
        private const int Fixed64 = 1;
        private const int Fixed32 = 5;

        private ReadOnlySpan<byte> _rest = message;

        public bool TryNext(out int tag, out ReadOnlySpan<byte> content)
        {
            content = default;
            tag = 0;
            while (TryTakeVarint(out var next))
            {
                tag = (int)next;
                var isWhole = (tag & 7) switch
                {
                    Varint => TryTakeVarint(out _),
                    Fixed64 => TryTake(sizeof(ulong), out _),
                    Fixed32 => TryTake(sizeof(uint), out _),
                    LengthDelimited => TryTakeVarint(out var length) && TryTake(length, out content),
                    _ => false,
                };
                if (!isWhole || (tag & 7) == LengthDelimited)
                {
                    return isWhole;
                }
            }

            return false;
        }

        private bool TryTake(ulong length, out ReadOnlySpan<byte> taken)
        {
            var isThere = length <= (ulong)_rest.Length;
            taken = isThere ? _rest[..(int)length] : default;
            _rest = isThere ? _rest[(int)length..] : default;
            return isThere;
        }

        private bool TryTakeVarint(out ulong value)
        {
            value = 0;
            for (var i = 0; i < _rest.Length && i < 10; i++)
            {
                value |= (ulong)(_rest[i] & 0x7F) << (7 * i);
                if (_rest[i] < 0x80)
                {
                    _rest = _rest[(i + 1)..];
                    return true;
                }
            }

            return false;
        }
    }
}
