using System.Buffers;
using System.Buffers.Binary;
using Broker.Domain;

namespace Broker.Storage;

/// <summary>
/// The content of a side file (<see cref="SnapshotFiles"/>, <see cref="IndexFiles"/>) after its header block, in pages
/// of 4 KiB that are checked one by one, so that a look-up reads no more than the pages that it needs:
/// <code>
///    0 4,092 bytes of the content, the rest of a section's last page zero
/// 4092 CRC32C of them, seeded by the file's header and the page's number
/// </code>
/// Page 0 is the header; each section of the content begins a page. The seed makes a page of another file, or of
/// another place in this one, as bad as a flipped bit. The content "AB" alone is the page
/// <c>41 42 00 .. 00 (CRC32C)</c>.
/// </summary>
internal static class CheckedPages
{
    public const int PageBytes = 4096;
    public const int PayloadBytes = PageBytes - sizeof(uint);

    /// <summary>256 KiB a call: few system calls, and a buffer that is no burden.</summary>
    private const int PagesPerCall = 64;

    /// <summary>Pages of a section of this many bytes.</summary>
    public static long Count(long contentBytes) => (contentBytes + PayloadBytes - 1) / PayloadBytes;

    /// <summary>Writes a section that begins at this page.</summary>
    public static void Write(IStorageFile file, uint seed, long firstPage, ReadOnlySpan<byte> content)
    {
        var buffer = ArrayPool<byte>.Shared.Rent(PagesPerCall * PageBytes);
        try
        {
            while (!content.IsEmpty)
            {
                var count = (int)Math.Min(PagesPerCall, Count(content.Length));
                for (var i = 0; i < count; i++)
                {
                    var part = content[..Math.Min(content.Length, PayloadBytes)];
                    Seal(buffer.AsSpan(i * PageBytes, PageBytes), part, seed, firstPage + i);
                    content = content[part.Length..];
                }

                file.Write(firstPage * PageBytes, buffer.AsSpan(0, count * PageBytes));
                firstPage += count;
            }
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    /// <summary>
    /// Reads a part of the section that begins at this page; null when all is well. What was read before damage is
    /// void.
    /// </summary>
    public static FileDamage? Read(IStorageFile file, uint seed, long firstPage, long offset, Span<byte> into)
    {
        var (pageInSection, skip) = Math.DivRem(offset, PayloadBytes);
        var page = firstPage + pageInSection;
        var wanted = (int)Math.Min(PagesPerCall, Count(skip + into.Length));
        var buffer = ArrayPool<byte>.Shared.Rent(Math.Max(1, wanted) * PageBytes);
        try
        {
            while (!into.IsEmpty)
            {
                var count = (int)Math.Min(wanted, Count(skip + into.Length));
                var pages = buffer.AsSpan(0, count * PageBytes);
                if (FindBad(file, seed, page, pages) is { } bad)
                {
                    return bad;
                }

                for (var i = 0; i < count; i++)
                {
                    var payload = pages.Slice(i * PageBytes, PayloadBytes)[(int)skip..];
                    var taken = Math.Min(payload.Length, into.Length);
                    payload[..taken].CopyTo(into);
                    into = into[taken..];
                    skip = 0;
                }

                page += count;
            }

            return null;
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    /// <summary>Checks pages whose content nobody wants; null when all is well.</summary>
    public static FileDamage? Verify(IStorageFile file, uint seed, long page, long count)
    {
        var buffer = ArrayPool<byte>.Shared.Rent((int)Math.Clamp(count, 1, PagesPerCall) * PageBytes);
        try
        {
            for (var end = page + count; page < end;)
            {
                var piece = (int)Math.Min(PagesPerCall, end - page);
                if (FindBad(file, seed, page, buffer.AsSpan(0, piece * PageBytes)) is { } bad)
                {
                    return bad;
                }

                page += piece;
            }

            return null;
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    private static FileDamage? FindBad(IStorageFile file, uint seed, long page, Span<byte> pages)
    {
        int filled;
        try
        {
            filled = file.Read(page * PageBytes, pages);
        }
        catch (IOException failure)
        {
            return FileDamage.Unreadable(failure);
        }

        for (var at = 0; at < pages.Length; at += PageBytes, page++)
        {
            var bytes = pages.Slice(at, PageBytes);
            if (at + PageBytes > filled
                || BinaryPrimitives.ReadUInt32LittleEndian(bytes[PayloadBytes..]) != CrcOf(bytes, seed, page))
            {
                return new FileDamage(page * PageBytes, "a page with a matching checksum");
            }
        }

        return null;
    }

    private static void Seal(Span<byte> page, ReadOnlySpan<byte> content, uint seed, long number)
    {
        content.CopyTo(page);
        page[content.Length..].Clear();
        BinaryPrimitives.WriteUInt32LittleEndian(page[PayloadBytes..], CrcOf(page, seed, number));
    }

    private static uint CrcOf(ReadOnlySpan<byte> page, uint seed, long number)
    {
        Span<byte> place = stackalloc byte[sizeof(long)];
        BinaryPrimitives.WriteInt64LittleEndian(place, number);
        return Crc32C.Compute(page[..PayloadBytes], Crc32C.Compute(place, seed));
    }
}

/// <summary>What is wrong with a file that can be done without, or made anew.</summary>
/// <param name="Offset">Where the damage begins.</param>
/// <param name="Expected">What should have been there.</param>
/// <param name="Cause">The error of the disk, when it could not read it.</param>
internal readonly record struct FileDamage(long Offset, string Expected, Exception? Cause = null)
{
    public static FileDamage Unreadable(Exception cause) => new(0, "bytes that can be read", cause);
}
