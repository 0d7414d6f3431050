namespace Broker.Topics;

/// <summary>What is known of one key: its last record so far. 48 bytes.</summary>
internal struct KeyPlace
{
    /// <summary>As a segment: one where nothing is written anew.</summary>
    public const int Elsewhere = -1;

    /// <summary>As the first segment: only graves were seen, which no reader can see.</summary>
    public const int Nowhere = -2;

    public KeyMark Key;

    /// <summary>Offset of the last record.</summary>
    public long Offset;

    /// <summary>The time of its batch.</summary>
    public long TimestampUnixMs;

    /// <summary>What it takes in its batch.</summary>
    public int SizeBytes;

    /// <summary>Where it is: the number of a segment in the scan's list, or elsewhere.</summary>
    public int Segment;

    /// <summary>The same of the key's first record that is still there and no grave.</summary>
    public int FirstSegment;

    public KeyPlaceKind Kind;
}

internal enum KeyPlaceKind : byte
{
    Value,
    Marker,

    /// <summary>A delete marker that was taken out already.</summary>
    Grave,
}

/// <summary>
/// Keys and where their last records are. It holds so many and no more: whoever scans more keys takes them a part at a
/// time, by how they are spread.
/// </summary>
internal sealed class KeyTable(int mostKeys)
{
    private const int FirstSlots = 1 << 10;

    private KeyPlace[] _slots = new KeyPlace[FirstSlots];
    private int _count;

    /// <summary>It takes no other key.</summary>
    public bool IsFull => _count >= mostKeys;

    public ReadOnlySpan<KeyPlace> Slots => _slots;

    /// <summary>The place of a key; a new one has no key yet, and is to be filled at once.</summary>
    public ref KeyPlace Find(in KeyMark key)
    {
        if (_count >= _slots.Length / 8 * 7)
        {
            Grow();
        }

        ref var slot = ref SlotOf(_slots, key);
        _count += slot.Key.IsNone ? 1 : 0;
        return ref slot;
    }

    public void Clear()
    {
        Array.Clear(_slots);
        _count = 0;
    }

    /// <summary>Forgets the keys that are spread to a number or above.</summary>
    public void KeepBelow(ulong bound)
    {
        var before = _slots;
        _slots = new KeyPlace[before.Length];
        _count = 0;
        foreach (ref readonly var place in before.AsSpan())
        {
            if (!place.Key.IsNone && place.Key.Spread() < bound)
            {
                SlotOf(_slots, place.Key) = place;
                _count++;
            }
        }
    }

    private static ref KeyPlace SlotOf(KeyPlace[] slots, in KeyMark key)
    {
        // Parts of the keys are taken by the upper bits, so these do not tell them apart within a part.
        var at = (int)key.Spread() & (slots.Length - 1);
        while (!slots[at].Key.IsNone && slots[at].Key != key)
        {
            at = (at + 1) & (slots.Length - 1);
        }

        return ref slots[at];
    }

    private void Grow()
    {
        var before = _slots;
        _slots = new KeyPlace[before.Length * 2];
        foreach (ref readonly var place in before.AsSpan())
        {
            if (!place.Key.IsNone)
            {
                SlotOf(_slots, place.Key) = place;
            }
        }
    }
}
