namespace Broker.Topics;

/// <summary>
/// Takes protobuf fields off encoded bytes without making objects (protobuf.dev/programming-guides/encoding). Every
/// Try* answers false on bytes that no encoder writes; varints may have more bytes than they need, as decoders accept.
/// </summary>
internal ref struct WireReader(ReadOnlySpan<byte> bytes)
{
    public const int Varint = 0;
    public const int Fixed64 = 1;
    public const int LengthDelimited = 2;
    public const int Fixed32 = 5;

    private const int MaxVarintBytes = 10;
    private const int MaxVarint32Bytes = 5;

    private ReadOnlySpan<byte> _rest = bytes;

    public readonly bool IsAtEnd => _rest.IsEmpty;

    public readonly int RestBytes => _rest.Length;

    /// <summary>A field's number (1 or more) and its wire type (0 to 7; not every one is valid).</summary>
    public bool TryTakeTag(out int field, out int wireType)
    {
        var read = TryTakeVarint32(out var tag);
        field = (int)(tag >> 3);
        wireType = (int)(tag & 7);
        return read && field != 0;
    }

    public bool TryTakeBytes(out ReadOnlySpan<byte> taken)
    {
        if (!TryTakeVarint32(out var length) || length > (uint)_rest.Length)
        {
            taken = default;
            return false;
        }

        taken = _rest[..(int)length];
        _rest = _rest[(int)length..];
        return true;
    }

    /// <summary>
    /// Passes over an unknown field. Groups (types 3 and 4, deprecated) and types that do not exist are refused.
    /// </summary>
    public bool TrySkip(int wireType) => wireType switch
    {
        Varint => TryTakeVarint(out _),
        Fixed64 => TryAdvance(sizeof(ulong)),
        LengthDelimited => TryTakeBytes(out _),
        Fixed32 => TryAdvance(sizeof(uint)),
        _ => false,
    };

    /// <summary>Takes a number of up to 64 bits, as protobuf would read it.</summary>
    public bool TryTakeVarint(out ulong value)
    {
        value = 0;
        var limit = Math.Min(_rest.Length, MaxVarintBytes);
        for (var i = 0; i < limit; i++)
        {
            // Of the tenth byte only the lowest bit is part of a 64-bit number: the others are shifted out.
            value |= (ulong)(_rest[i] & 0x7F) << (7 * i);
            if (_rest[i] < 0x80)
            {
                _rest = _rest[(i + 1)..];
                return true;
            }
        }

        return false;
    }

    private bool TryTakeVarint32(out uint value)
    {
        // Most lengths and all our tags have one byte.
        if (!_rest.IsEmpty && _rest[0] < 0x80)
        {
            value = _rest[0];
            _rest = _rest[1..];
            return true;
        }

        ulong result = 0;
        var limit = Math.Min(_rest.Length, MaxVarint32Bytes);
        for (var i = 0; i < limit; i++)
        {
            var part = _rest[i];
            result |= (ulong)(part & 0x7F) << (7 * i);
            if (part < 0x80)
            {
                _rest = _rest[(i + 1)..];
                value = (uint)result;
                return result <= uint.MaxValue;
            }
        }

        value = 0;
        return false;
    }

    private bool TryAdvance(int length)
    {
        if (length > _rest.Length)
        {
            return false;
        }

        _rest = _rest[length..];
        return true;
    }
}
