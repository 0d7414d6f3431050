namespace Broker.Groups;

/// <summary>What has become of a group's records at a leader, for the metrics.</summary>
internal record struct GroupTally
{
    /// <summary>Finished by a consumer.</summary>
    public long Acked { get; set; }

    /// <summary>Given back by a consumer.</summary>
    public long Nacked { get; set; }

    /// <summary>The lease has ended.</summary>
    public long Lapsed { get; set; }

    /// <summary>Dead letters, where the group keeps those.</summary>
    public long GivenUp { get; set; }

    /// <summary>Their time to live was over.</summary>
    public long Expired { get; set; }
}
