using System.Security.Cryptography.X509Certificates;
using System.Text;
using Grpc.Core;

namespace Grpc.AspNetCore.Server.Internal;

/// <summary>What a client certificate says of its owner, under the property names that all gRPC servers use.</summary>
internal static class PeerIdentity
{
    private const string CommonName = "x509_common_name";
    private const string SubjectAlternativeName = "x509_subject_alternative_name";

    public static AuthContext Of(X509Certificate2? certificate)
    {
        var properties = new Dictionary<string, List<AuthProperty>>();
        if (certificate is null)
        {
            return new AuthContext(null, properties);
        }

        foreach (var extension in certificate.Extensions.OfType<X509SubjectAlternativeNameExtension>())
        {
            Add(properties, SubjectAlternativeName, extension.EnumerateDnsNames());
        }

        var name = certificate.GetNameInfo(X509NameType.SimpleName, forIssuer: false);
        Add(properties, CommonName, name.Length > 0 ? [name] : []);
        var identity = properties.ContainsKey(SubjectAlternativeName) ? SubjectAlternativeName
            : properties.ContainsKey(CommonName) ? CommonName
            : null;
        return new AuthContext(identity, properties);
    }

    private static void Add(
        Dictionary<string, List<AuthProperty>> properties, string name, IEnumerable<string> values)
    {
        var list = values.Select(value => AuthProperty.Create(name, Encoding.UTF8.GetBytes(value))).ToList();
        if (list.Count > 0)
        {
            properties[name] = list;
        }
    }
}
