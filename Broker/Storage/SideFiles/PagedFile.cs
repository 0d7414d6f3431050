using System.Diagnostics.CodeAnalysis;
using Broker.Domain;

namespace Broker.Storage;

/// <summary>
/// What index files and snapshots have in common: one block as a header, then the content in <see
/// cref="CheckedPages"/>, all of it in a <see cref="SideFile"/>.
/// </summary>
internal static class PagedFile
{
    /// <summary>
    /// Writes the header into a new file, and takes all of its space at once: a full disk shows before anything else is
    /// written. Returns the seed of the pages.
    /// </summary>
    public static uint Begin<THeader>(IStorageFile file, THeader header)
        where THeader : class, IPagedHeader<THeader>
    {
        var block = new byte[CheckedPages.PageBytes];
        header.Encode(block);
        file.Allocate(header.Pages * CheckedPages.PageBytes);
        file.Write(0, block);
        return CheckedBlock.CrcIn(block);
    }

    /// <summary>Reads the header, and compares the file's name and length with it.</summary>
    /// <exception cref="StorageRefusedException">It is another disk's, another group's, or of another format
    /// version.</exception>
    public static bool TryReadHeader<THeader>(
        GroupFolder folder,
        string path,
        IStorageFile file,
        [NotNullWhen(true)] out THeader? header,
        out uint seed,
        out FileDamage damage)
        where THeader : class, IPagedHeader<THeader>
    {
        header = null;
        seed = 0;
        damage = default;
        try
        {
            var block = new byte[CheckedPages.PageBytes];
            var read = THeader.TryDecode(
                block.AsSpan(0, file.Read(0, block)), path, folder.Group, folder.StoreId);
            if (FindDamage(path, file, read) is { } found)
            {
                damage = found;
                return false;
            }

            header = read!;
            seed = CheckedBlock.CrcIn(block);
            return true;
        }
        catch (IOException failure) when (failure is not StorageRefusedException)
        {
            damage = FileDamage.Unreadable(failure);
            return false;
        }
    }

    private static FileDamage? FindDamage<THeader>(string path, IStorageFile file, THeader? header)
        where THeader : class, IPagedHeader<THeader>
    {
        if (header is null)
        {
            return new FileDamage(0, THeader.Expected);
        }

        if (header.FileName != Path.GetFileName(path))
        {
            return new FileDamage(0, $"the name {header.FileName}");
        }

        var length = header.Pages * CheckedPages.PageBytes;
        return file.Length == length ? null : new FileDamage(file.Length, $"a length of {length:N0} bytes");
    }
}

/// <summary>The header of a <see cref="PagedFile"/>: its first block, which is its page 0.</summary>
internal interface IPagedHeader<TSelf>
    where TSelf : class, IPagedHeader<TSelf>
{
    /// <summary>What should have been there, for those who find the block damaged.</summary>
    static abstract string Expected { get; }

    /// <summary>The name of the file that the header belongs to.</summary>
    string FileName { get; }

    /// <summary>Pages of the file with this one.</summary>
    long Pages { get; }

    /// <summary>Null when the block is damaged. An intact one of another disk, group or version is refused.</summary>
    static abstract TSelf? TryDecode(ReadOnlySpan<byte> block, string path, GroupId group, Guid storeId);

    void Encode(Span<byte> block);
}
