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

/// <summary>How a segment's file comes, what its first block and its length tell of it, and how it goes.</summary>
internal static class SegmentFile
{
    private const string NextName = "segment" + GroupFolder.TemporarySuffix;

    /// <summary>
    /// Makes an empty segment; header, space and name are durable when it returns. On a full disk nothing is left.
    /// </summary>
    public static IStorageFile Create(GroupFolder folder, string path, in SegmentHeader header)
    {
        var temporary = folder.PathOf(NextName);
        folder.DeleteIfThere(temporary);
        var file = folder.Device.Open(temporary, create: true);
        try
        {
            Begin(file, header);
            file.Sync();
        }
        catch (Exception failure)
        {
            file.Dispose();
            if (failure is DiskFullException)
            {
                folder.Device.Delete(temporary);
            }

            throw;
        }

        try
        {
            folder.Device.Rename(temporary, path);
            folder.Sync();
            return file;
        }
        catch (IOException failure)
        {
            // The name may or may not be there: only a restart can tell, even where the reason is a full disk.
            file.Dispose();
            throw new StorageException($"{path} could not be given its name: {failure.Message}", failure);
        }
    }

    /// <summary>Takes the space of a new file, and writes the header into it; the caller syncs.</summary>
    public static void Begin(IStorageFile file, in SegmentHeader header)
    {
        file.Allocate(header.CapacityBytes);
        WriteHeader(file, header);
    }

    public static void WriteHeader(IStorageFile file, in SegmentHeader header)
    {
        var block = new byte[SegmentHeader.SizeBytes];
        header.Encode(block);
        file.Write(0, block);
    }

    /// <summary>Deletes the files of segments that left the log, the newest first; durable when it returns.</summary>
    public static void Delete(GroupFolder folder, List<Segment> removed)
    {
        for (var i = removed.Count - 1; i >= 0; i--)
        {
            folder.DeleteIfThere(removed[i].Path);
        }

        folder.Sync();
    }

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
