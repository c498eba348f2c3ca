# Each of these is a test of its own; that they are in one image saves time.
# expect: placement-manage --version says
# expect: configuration: [api] nonsense is no option
# expect: script placement-status is no program
# expect: script placement-manage: ModuleNotFoundError: No module named 'placement.missing'
# expect: driver nonsense: no entry point of keystoneauth1.plugin is called so
# expect: openstack-placement requires jsonschema, which is not installed
# expect: names no licence: the distribution openstack_placement
# expect: has no bytecode: /opt/openstack/lib/python3.13/site-packages/placement/errors.py
# expect: is bytecode without a source: /opt/openstack/lib/python3.13/site-packages/placement/__pycache__/gone.cpython-313.pyc
# expect: is bytecode of an older source: /opt/openstack/lib/python3.13/site-packages/placement/__pycache__/util.cpython-313.pyc
# expect: is left behind (tests): /opt/openstack/lib/python3.13/site-packages/placement/tests/__init__.py
ARG VERSION=latest
FROM os-placement:${VERSION}
USER root
WORKDIR /opt/openstack/lib/python3.13/site-packages
RUN sed -i -E '/^(License|Classifier: License)/d; s/^Version: .*/Version: 0.1/' openstack_placement-*.dist-info/METADATA \
 && rm -rf openstack_placement-*.dist-info/licenses openstack_placement-*.dist-info/*LICENSE* jsonschema-*.dist-info \
 && sed -i 's/placement.cmd.manage:main/placement.missing:main/' openstack_placement-*.dist-info/entry_points.txt \
 && rm /opt/openstack/bin/placement-status placement/__pycache__/errors.*.pyc \
 && touch placement/__pycache__/gone.cpython-313.pyc && echo '# changed' >>placement/util.py \
 && mkdir placement/tests && touch placement/tests/__init__.py \
 && printf '[api]\nnonsense = 1\n[keystone_authtoken]\nauth_type = nonsense\n' >/etc/placement/placement.conf.d/90-broken.conf
WORKDIR /etc/osbox
USER stack
