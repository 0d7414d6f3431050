using Google.Protobuf.Reflection;
using Wire = Broker.Protocol.Wire;

namespace Broker.Client;

/// <summary>The names of broker.v1.Reason as they stand in the details of errors.</summary>
internal static class ReasonNames
{
    private const string Prefix = "REASON_";

    private static readonly Dictionary<Wire.Reason, string> Names = Wire.BrokerReflection.Descriptor
        .FindTypeByName<EnumDescriptor>(nameof(Wire.Reason)).Values
        .ToDictionary(static value => (Wire.Reason)value.Number, static value => value.Name[Prefix.Length..]);

    /// <summary>Empty for none, and for one that is newer than this library.</summary>
    public static string Of(Wire.Reason reason) =>
        reason == Wire.Reason.Unspecified ? "" : Names.GetValueOrDefault(reason, "");
}
