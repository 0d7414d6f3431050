namespace Broker.Storage;

/// <summary>What a segment's file looks like before its frames are read.</summary>
internal enum SegmentFileState
{
    Sound,
    Missing,

    /// <summary>It ends before the capacity that its header says.</summary>
    Short,

    /// <summary>The header is damaged, or cannot be read.</summary>
    BadHeader,
}

/// <summary>Looks at the first block and the length of a segment's file.</summary>
internal static class SegmentFile
{
    /// <exception cref="StorageRefusedException">It is another disk's, another group's, or of another format
    /// version.</exception>
    public static SegmentFileState Inspect(GroupFolder folder, string path, out SegmentHeader header)
    {
        header = default;
        if (!folder.Device.Exists(path))
        {
            return SegmentFileState.Missing;
        }

        using var file = folder.Device.Open(path, create: false);
        var block = new byte[SegmentHeader.SizeBytes];
        var count = TryRead(file, block);
        if (!SegmentHeader.TryDecode(block.AsSpan(0, count), path, out header))
        {
            return SegmentFileState.BadHeader;
        }

        GroupFolder.CheckOwner(path, folder.Group, folder.StoreId, header.Group, header.StoreId);
        if (Path.GetFileName(path) != GroupFolder.SegmentName(header.First))
        {
            return SegmentFileState.BadHeader;
        }

        return file.Length < header.CapacityBytes ? SegmentFileState.Short : SegmentFileState.Sound;
    }

    private static int TryRead(IStorageFile file, byte[] block)
    {
        try
        {
            return file.Read(0, block);
        }
        catch (IOException)
        {
            // A block that the disk cannot read is as good as a damaged one.
            return 0;
        }
    }
}
