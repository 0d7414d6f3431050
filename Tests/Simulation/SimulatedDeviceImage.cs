namespace Broker.Tests.Simulation;

/// <summary>Bytes of a sparse file, kept in pages; a page that was never written reads as zero.</summary>
internal sealed class SimulatedDeviceImage
{
    private const int PageBytes = 4096;
    private readonly List<byte[]?> _pages = [];

    public long Length { get; private set; }

    public int Read(long offset, Span<byte> into)
    {
        var count = (int)Math.Clamp(Length - offset, 0, into.Length);
        for (var at = 0; at < count;)
        {
            var (page, inPage) = Math.DivRem(offset + at, PageBytes);
            var part = into.Slice(at, (int)Math.Min(count - at, PageBytes - inPage));
            if (page < _pages.Count && _pages[(int)page] is { } bytes)
            {
                bytes.AsSpan((int)inPage, part.Length).CopyTo(part);
            }
            else
            {
                part.Clear();
            }

            at += part.Length;
        }

        return count;
    }

    public void Write(long offset, ReadOnlySpan<byte> bytes)
    {
        Length = Math.Max(Length, offset + bytes.Length);
        while (!bytes.IsEmpty)
        {
            var (page, inPage) = Math.DivRem(offset, PageBytes);
            var part = bytes[..(int)Math.Min(bytes.Length, PageBytes - inPage)];
            while (_pages.Count <= page)
            {
                _pages.Add(null);
            }

            // Zeros over nothing need no page.
            if (_pages[(int)page] is not null || part.ContainsAnyExcept((byte)0))
            {
                part.CopyTo((_pages[(int)page] ??= new byte[PageBytes]).AsSpan((int)inPage));
            }

            offset += part.Length;
            bytes = bytes[part.Length..];
        }
    }

    public void SetLength(long length)
    {
        if (length < Length)
        {
            var (page, inPage) = Math.DivRem(length, PageBytes);
            if (page < _pages.Count)
            {
                _pages[(int)page]?.AsSpan((int)inPage).Clear();
                _pages.RemoveRange((int)page + 1, _pages.Count - (int)page - 1);
            }
        }

        Length = length;
    }

    public void Flip(long offset, byte mask)
    {
        Span<byte> value = stackalloc byte[1];
        Read(offset, value);
        value[0] ^= mask;
        Write(offset, value);
    }

    public SimulatedDeviceImage Clone()
    {
        var clone = new SimulatedDeviceImage { Length = Length };
        foreach (var page in _pages)
        {
            clone._pages.Add((byte[]?)page?.Clone());
        }

        return clone;
    }
}
